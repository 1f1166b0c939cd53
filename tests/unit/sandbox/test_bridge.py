"""Two sessions back to back: offers that cross must not wait for each other."""

from __future__ import annotations

from typing import Any, cast

from phoned.errors import WrongState
from phoned.sandbox.bridge import Bridge
from phoned.signaling import Signaling
from phoned.sip import events as sip


class Said:
    """A driver that only notes what was asked of it."""

    def __init__(self) -> None:
        self.words: list[tuple[Any, ...]] = []

    def invite(self, *arguments: Any, caller: str) -> None:
        arguments[3]("callee")

    def __getattr__(self, verb: str) -> Any:
        return lambda *arguments, **_: self.words.append((verb, *arguments))


def answer_wanted(session: str, token: str) -> sip.DescriptionWanted:
    return sip.DescriptionWanted(
        session=session, token=token, kind=sip.DescriptionKind.ANSWER, remote=token.encode(), deadline=0
    )


def bridged() -> tuple[Said, Bridge]:
    """Two phones that talk."""
    said = Said()
    bridge = Bridge(
        "caller",
        account="bob",
        target="sip:bob@x",
        caller_uri="sip:alice@x",
        headers=(),
        signaling=cast(Signaling, said),
        on_callee=lambda session: None,
    )
    bridge.on_event(answer_wanted("caller", "first"))
    said.words.clear()
    return said, bridge


def referred(replaces: str | None = None) -> sip.Referred:
    return sip.Referred(session="callee", token="t", target="sip:carol@x", replaces=replaces, referred_by=None)


def progress(status: int, *, final: bool) -> sip.ReferProgress:
    return sip.ReferProgress(session="caller", token="u", status=status, reason="so", final=final)


def test_a_blind_transfer_goes_through_and_back_how_it_fares() -> None:
    said, bridge = bridged()
    bridge.on_event(referred())
    bridge.on_event(sip.ReferAccepted(session="caller", token="u"))
    bridge.on_event(progress(180, final=False))
    bridge.on_event(progress(200, final=True))
    assert said.words == [
        ("refer", "caller"),
        ("accept_refer", "callee"),
        ("notify_refer", "callee", 180, "so"),
        ("notify_refer", "callee", 200, "so"),
    ]


def test_a_transfer_that_the_other_phone_refuses_is_refused_and_so_is_an_attended_one() -> None:
    said, bridge = bridged()
    bridge.on_event(referred())
    bridge.on_event(progress(0, final=False))
    bridge.on_event(progress(603, final=True))
    bridge.on_event(referred(replaces="a;to-tag=b;from-tag=c"))
    assert said.words == [("refer", "caller"), ("refuse_refer", "callee", 603), ("refuse_refer", "callee")]


def test_a_transfer_that_cannot_be_passed_on_is_refused() -> None:
    said, bridge = bridged()

    def refer(session: str, *, target: str) -> str:
        raise WrongState("one at a time", state="referring")

    said.refer = refer  # type: ignore[attr-defined]  # a verb that fails
    bridge.on_event(referred())
    assert said.words == [("refuse_refer", "callee")]


def test_of_two_offers_that_cross_one_is_told_to_come_again() -> None:
    said = Said()
    bridge = Bridge(
        "caller",
        account="bob",
        target="sip:bob@x",
        caller_uri="sip:alice@x",
        headers=(),
        signaling=cast(Signaling, said),
        on_callee=lambda session: None,
    )
    bridge.on_event(answer_wanted("caller", "first"))
    bridge.on_event(sip.AnswerReceived(session="callee", token="t", description=b"a", early=False, fork="f"))
    said.words.clear()
    bridge.on_event(answer_wanted("callee", "his"))
    bridge.on_event(answer_wanted("caller", "hers"))
    assert said.words == [("reinvite", "caller", sip.ModifyCause.MEDIA), ("refuse", "hers", 491)]
    bridge.on_event(sip.AnswerReceived(session="caller", token="t", description=b"b", early=False, fork="f"))
    assert said.words[-1] == ("supply", "his", b"b")
