"""Two sessions back to back: offers that cross must not wait for each other."""

from __future__ import annotations

from typing import Any, cast

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
