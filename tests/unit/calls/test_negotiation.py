"""The seam between session and media: one description at a time, none too many, none too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from phoned.calls.negotiation import Negotiation
from phoned.errors import DescriptionError, UnavailableError
from phoned.sip.events import (
    AnswerReceived,
    DescriptionExpired,
    DescriptionKind,
    DescriptionWanted,
    Modified,
    ModifyCause,
    ModifyRefused,
)
from phoned.tasks import Tasks
from tests.support.call_media import FakeMedia
from tests.support.calls import FakeCore, settle, virtual


class Desk:
    def __init__(self) -> None:
        self.media = FakeMedia(lambda event: None)
        self.core = FakeCore()
        self.unusable: list[str] = []
        self.crashes: list[BaseException] = []
        self.tasks = Tasks("t", lambda name, error: self.crashes.append(error))
        self.negotiation = Negotiation(self.media, self.core, self.tasks, on_unusable=self.unusable.append)

    def wants(self, token: str, remote: bytes | None = None, **facts: Any) -> None:
        kind = facts.pop("kind", DescriptionKind.OFFER if remote is None else DescriptionKind.ANSWER)
        self.negotiation.wanted(
            DescriptionWanted(session="s", token=token, kind=kind, remote=remote, deadline=0, **facts)
        )

    def answered(self, token: str, description: bytes = b"theirs", *, early: bool = False, fork: str = "f") -> None:
        self.negotiation.answered(
            AnswerReceived(session="s", token=token, description=description, early=early, fork=fork)
        )

    def expired(self, token: str) -> None:
        self.negotiation.expired(DescriptionExpired(session="s", token=token))


@virtual
async def test_an_offer_is_made_answered_and_done_with() -> None:
    desk = Desk()
    desk.wants("t1")
    await settle()
    desk.answered("t1")
    await settle()
    desk.negotiation.refused()
    assert desk.media.log == ["offer", ("accept", b"theirs")]
    assert desk.core.said == [("supply", "t1", "offer")]
    assert len(desk.tasks) == 0


@virtual
async def test_their_offer_is_answered() -> None:
    desk = Desk()
    desk.wants("t1", b"theirs")
    await settle()
    assert desk.media.log == [("answer", b"theirs")]
    assert desk.core.said == [("supply", "t1", "answer")]


@virtual
async def test_a_description_that_is_none_is_refused_with_its_status() -> None:
    desk = Desk()
    desk.media.errors["answer"] = [DescriptionError("torn", status=400), UnavailableError("no address")]
    desk.wants("t1", b"torn")
    desk.wants("t2", b"fine")
    desk.wants("t3", kind=DescriptionKind.ANSWER)
    await settle()
    assert desk.core.said == [("refuse", "t1", "400"), ("refuse", "t2", "488"), ("refuse", "t3", "488")]


@virtual
async def test_a_description_that_expired_before_its_turn_is_not_made() -> None:
    desk = Desk()
    desk.wants("t1")
    desk.expired("t1")
    await settle()
    assert desk.media.log == []
    assert desk.core.said == []


@virtual
async def test_an_offer_that_expires_while_it_is_made_is_rolled_back() -> None:
    desk = Desk()
    desk.wants("t1")
    await asyncio.sleep(desk.media.work_s / 2)
    desk.expired("t1")
    await settle()
    assert desk.media.log == ["offer", "rollback"]


@virtual
async def test_an_offer_that_was_overtaken_is_rolled_back_before_the_next() -> None:
    desk = Desk()
    desk.wants("t1")
    await settle()
    desk.wants("t2")
    await settle()
    assert desk.media.log == ["offer", "rollback", "offer"]


@virtual
async def test_a_refused_offer_is_rolled_back_once() -> None:
    desk = Desk()
    desk.wants("t1")
    await settle()
    desk.negotiation.refused()
    desk.negotiation.refused()
    desk.expired("t1")
    await settle()
    assert desk.media.log == ["offer", "rollback"]


@virtual
async def test_one_fork_is_followed_until_another_is_answered_for_good() -> None:
    desk = Desk()
    desk.wants("t1")
    await settle()
    desk.answered("t1", b"a", early=True, fork="a")
    desk.answered("t1", b"b", early=True, fork="b")
    await settle()
    desk.answered("t1", b"b", fork="b")
    await settle()
    assert desk.media.log == ["offer", ("accept", b"a"), ("accept", b"b")]


@virtual
async def test_an_early_answer_that_is_no_good_is_no_end_but_the_last_one_is() -> None:
    desk = Desk()
    desk.media.errors["accept"] = [DescriptionError("early"), DescriptionError("last")]
    desk.answered("t1", early=True)
    await settle()
    assert desk.unusable == []
    desk.answered("t1")
    await settle()
    assert desk.unusable == ["last"]


@virtual
async def test_an_outcome_is_told_after_its_answer_was_taken_and_as_a_refusal_when_that_is_of_no_use() -> None:
    desk, told = Desk(), list[Modified | ModifyRefused]()
    modified = Modified(session="s", causes=(ModifyCause.HOLD,))
    desk.negotiation.outcome(modified, told.append)
    assert told == [modified]
    desk.wants("t1")
    await settle()
    desk.answered("t1")
    desk.negotiation.outcome(modified, told.append)
    assert told == [modified]
    await settle()
    assert told == [modified, modified]
    desk.wants("t2")
    await settle()
    desk.media.errors["accept"] = [DescriptionError("torn")]
    desk.answered("t2")
    desk.negotiation.outcome(modified, told.append)
    await settle()
    refused = told[-1]
    assert isinstance(refused, ModifyRefused)
    assert (refused.causes, refused.status) == (modified.causes, 200)
    desk.negotiation.refused()
    assert desk.media.log[-1] == "rollback"
    assert desk.unusable == []
    refusal = ModifyRefused(session="s", causes=(), status=488, reason="")
    desk.answered("t2")
    desk.negotiation.outcome(refusal, told.append)
    await settle()
    assert told[-1] is refusal


@virtual
async def test_an_answer_of_no_use_to_an_offer_that_they_asked_for_is_rolled_back_once_anything_was_agreed() -> None:
    for first in (b"theirs", None):
        desk = Desk()
        desk.wants("t1", first)
        await settle()
        if first is None:
            desk.answered("t1")
        desk.wants("t2")
        await settle()
        desk.media.errors["accept"] = [DescriptionError("torn")]
        desk.answered("t2")
        await settle()
        assert (desk.unusable, desk.media.log[-1]) == ([], "rollback")
        desk.negotiation.start_over()
        desk.media.errors["accept"] = [DescriptionError("torn")]
        desk.answered("t3")
        await settle()
        assert desk.unusable == ["torn"]


@virtual
async def test_an_ice_restart_that_could_not_be_offered_is_still_wished() -> None:
    desk = Desk()
    desk.media.errors["offer"] = [UnavailableError("no address")]
    desk.negotiation.wish(ice_restart=True)
    for token in ("t1", "t2"):
        desk.wants(token)
        await settle()
    assert desk.media.log == [("offer", "ice"), ("offer", "ice")]
    desk.negotiation.wish(rebuild=True)
    desk.negotiation.settled()
    desk.wants("t3")
    await settle()
    assert desk.media.log[-1] == ("offer", "rebuild")
    desk.negotiation.settled()
    desk.wants("t4")
    await settle()
    assert desk.media.log[-1] == "offer"


@virtual
async def test_a_refresh_repeats_the_description_in_force_if_there_is_one() -> None:
    desk = Desk()
    desk.wants("t1", causes=(ModifyCause.REFRESH,))
    desk.media.current = b"current"
    desk.wants("t2", causes=(ModifyCause.REFRESH, ModifyCause.HOLD))
    desk.wants("t3", causes=(ModifyCause.REFRESH,))
    await settle()
    assert [text for _, text in desk.core.of("supply")] == ["current", "offer", "current"]


@virtual
async def test_too_many_descriptions_at_once_are_refused_and_the_call_is_of_no_use() -> None:
    desk = Desk()
    flood: list[Callable[[str], None]] = [desk.wants] * 40
    for number, want in enumerate(flood):
        want(f"t{number}")
    desk.answered("x")
    await settle()
    assert desk.core.of("refuse") == [(f"t{number}", "500") for number in range(32, 40)]
    assert len(desk.unusable) == 1


@virtual
async def test_a_bug_in_media_goes_to_the_owner() -> None:
    desk = Desk()
    desk.media.errors["offer"] = [ZeroDivisionError()]
    desk.wants("t1")
    await settle()
    assert [type(error) for error in desk.crashes] == [ZeroDivisionError]
