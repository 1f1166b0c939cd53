"""Dialogs from requests and responses, their requests, their memory (RFC 3261 12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from phoned.errors import InvalidValue
from phoned.sip.dialog import Dialog, DialogState
from phoned.sip.headers import Headers
from phoned.sip.message import Request, Response


def _invite(*extra: tuple[str, str]) -> Request:
    return Request(
        "INVITE",
        "sip:bob@example.com",
        Headers(
            [
                ("From", '"Alice" <sip:alice@example.com>;tag=a'),
                ("To", "<sip:bob@example.com>"),
                ("Call-ID", "c"),
                ("CSeq", "7 INVITE"),
                ("Contact", "<sip:alice@a.invalid>"),
                *extra,
            ]
        ),
    )


def _response(status: int = 200, *extra: tuple[str, str], tag: str = ";tag=b") -> Response:
    return Response(
        status,
        "",
        Headers(
            [
                ("From", "<sip:alice@example.com>;tag=a"),
                ("To", f"<sip:bob@example.com>{tag}"),
                ("CSeq", "7 INVITE"),
                *extra,
            ]
        ),
    )


@pytest.mark.behaviour("R/f")
def test_uac_takes_the_route_set_in_reverse_and_the_contact() -> None:
    routes = ("Record-Route", "<sip:p2.example.com;lr>, <sip:p1.example.com;lr>")
    dialog = Dialog.uac(_invite(), _response(180, routes, ("Contact", "<sip:bob@b.invalid;transport=ws>")))
    assert dialog.state is DialogState.EARLY
    assert dialog.route_set == ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>")
    request = dialog.request("BYE")
    assert request.uri == "sip:bob@b.invalid;transport=ws"
    assert request.headers.all("Route") == ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
    assert request.headers.get("From") == '"Alice" <sip:alice@example.com>;tag=a'
    assert request.headers.get("To") == "<sip:bob@example.com>;tag=b"
    assert request.headers.get("CSeq") == "8 BYE"
    assert dialog.ack(7).headers.get("CSeq") == "7 ACK"
    dialog.confirm(_response(200, ("Contact", "<sip:bob@c.invalid>")))
    assert dialog.state is DialogState.CONFIRMED  # type: ignore[comparison-overlap]  # it changed under the checker
    assert not dialog.route_set
    assert dialog.remote_target == "sip:bob@c.invalid"


def test_peer_without_tag_is_taken_as_it_is() -> None:
    dialog = Dialog.uac(_invite(), _response(tag=""))
    assert dialog.state is DialogState.CONFIRMED
    assert dialog.request("BYE").headers.get("To") == "<sip:bob@example.com>"


def test_uas_mirrors() -> None:
    dialog = Dialog.uas(_invite(("Record-Route", "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>")), "mine")
    assert (dialog.local_tag, dialog.remote_tag, dialog.remote_cseq, dialog.initiator) == ("mine", "a", 7, False)
    request = dialog.request("BYE")
    assert request.uri == "sip:alice@a.invalid"
    assert request.headers.get("From") == "<sip:bob@example.com>;tag=mine"
    assert request.headers.all("Route") == ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]


def test_strict_router_is_named_in_the_request_uri() -> None:
    dialog = Dialog.uas(
        _invite(("Record-Route", "<sip:strict.example.com;method=x?a=b>, <sip:p2.example.com;lr>")), "m"
    )
    request = dialog.request("BYE")
    assert request.uri == "sip:strict.example.com"
    assert request.headers.all("Route") == ["<sip:p2.example.com;lr>", "<sip:alice@a.invalid>"]


def test_sequence_numbers_of_the_far_end_only_grow() -> None:
    dialog = Dialog.uas(_invite(), "m")
    for number, fine in ((7, False), (6, False), (9, True), (9, False), (8, False)):
        request = _invite()
        request.headers.set("CSeq", f"{number} INVITE")
        assert dialog.in_order(request) is fine
    fresh = Dialog.uac(_invite(), _response())
    assert fresh.in_order(_invite())


def test_target_refresh_ignores_what_cannot_be_called() -> None:
    dialog = Dialog.uac(_invite(), _response())
    assert dialog.remote_target == "sip:bob@example.com"
    assert not dialog.refresh_target(_response(200, ("Contact", "<tel:123>")))
    assert dialog.refresh_target(_response(200, ("Contact", "<sip:x@y.invalid>")))
    assert not dialog.refresh_target(_response(200, ("Contact", "<sip:x@y.invalid>")))


def test_snapshot_survives_json() -> None:
    dialog = Dialog.uac(_invite(), _response(200, ("Record-Route", "<sip:p1.example.com;lr>")))
    dialog.in_order(_invite())
    again = Dialog.restore(json.loads(json.dumps(dialog.snapshot())), cseq_skip=100)
    assert again.local_cseq == dialog.local_cseq + 100
    again.local_cseq = dialog.local_cseq
    assert again == dialog


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("remote_cseq", "7"),
        ("remote_cseq", -1),
        ("route_set", "x"),
        ("route_set", [1]),
        ("route_set", ["<nonsense>"]),
        ("local_cseq", None),
        ("local_cseq", True),
        ("call_id", ""),
        ("local", "nonsense <"),
        ("remote_target", "nonsense"),
        ("local_tag", 5),
    ],
)
def test_damaged_snapshot_is_refused(name: str, value: Any) -> None:
    snapshot = Dialog.uac(_invite(), _response()).snapshot()
    with pytest.raises(InvalidValue):
        Dialog.restore({**snapshot, name: value})
