"""Text in and out, on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from phoned.calls.messages import ANSWER_S, MAX_BODY, MAX_WAITING
from phoned.errors import AtCapacity, DeadlineExceeded, Denied, InvalidValue, NotFound, NotRegistered, Refused
from phoned.model import MessageRequest, MessageView
from phoned.sip import events as sip
from tests.support.calls import CallWorld, settle, virtual

HELLO = MessageRequest(account="a", to="200", body="hello")


def answered(world: CallWorld, status: int, token: str = "m1") -> None:
    world.tell(
        sip.RequestAnswered(
            account="a", session=None, token=token, method="MESSAGE", status=status, reason="Why", headers=()
        )
    )


async def sending(world: CallWorld, request: MessageRequest = HELLO) -> asyncio.Task[MessageView]:
    task = asyncio.get_running_loop().create_task(world.manager.messages.send(request))  # a test's own
    await settle()
    return task


@virtual
async def test_a_message_that_was_taken_is_sent() -> None:
    world = CallWorld()
    task = await sending(world)
    assert world.core.of("message") == [("a", "sip:200@example.org", "text/plain;charset=utf-8", "hello")]
    answered(world, 202)
    view = await task
    assert (view.state, view.sip_code, view.peer.number) == ("sent", 202, "200")
    assert await world.types() == ["message.sent"]


@pytest.mark.parametrize(("status", "error"), [(404, Refused), (0, DeadlineExceeded)])
@virtual
async def test_a_message_that_was_not_taken_is_told_with_the_reason(status: int, error: type[Exception]) -> None:
    world = CallWorld()
    task = await sending(world)
    answered(world, status)
    with pytest.raises(error):
        await task
    (event,) = await world.events()
    assert (event.type, event.data["message"].sip_code) == ("message.failed", status or None)


@virtual
async def test_an_outcome_that_never_comes_is_waited_for_a_while_only() -> None:
    world = CallWorld()
    task = await sending(world)
    await asyncio.sleep(ANSWER_S + 1)
    with pytest.raises(DeadlineExceeded):
        await task
    answered(world, 200)
    assert await world.types() == ["message.failed"]


@virtual
async def test_an_answer_at_once_is_not_missed() -> None:
    world = CallWorld()
    core_message = world.core.message

    def refuses(account: str, target: str, content_type: str, body: bytes) -> str:
        token = core_message(account, target, content_type, body)
        answered(world, 503, token)
        return token

    world.core.message = refuses  # type: ignore[method-assign]
    with pytest.raises(Refused, match="503"):
        await world.manager.messages.send(HELLO)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (replace(HELLO, account="b"), NotFound),
        (replace(HELLO, to="not an address"), InvalidValue),
        (replace(HELLO, to="112"), Denied),
        (replace(HELLO, body="\N{EURO SIGN}" * MAX_BODY), InvalidValue),
        (replace(HELLO, content_type="text"), InvalidValue),
        (replace(HELLO, content_type="text/plain\r\nX: y"), InvalidValue),
    ],
)
@virtual
async def test_what_cannot_be_sent_is_refused_before_anything_is_said(
    request_: MessageRequest, error: type[Exception]
) -> None:
    world = CallWorld()
    with pytest.raises(error):
        await world.manager.messages.send(request_)
    assert world.core.said == []


@virtual
async def test_an_account_that_is_not_registered_sends_nothing() -> None:
    world = CallWorld()
    world.account.online = False
    with pytest.raises(NotRegistered):
        await world.manager.messages.send(HELLO)


@virtual
async def test_only_so_many_wait_for_their_answer() -> None:
    world = CallWorld()
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(world.manager.messages.send(HELLO)) for _ in range(MAX_WAITING)]  # as above
    await settle()
    with pytest.raises(AtCapacity):
        await world.manager.messages.send(HELLO)
    for number in range(MAX_WAITING):
        answered(world, 200, f"m{number + 1}")
    assert {(await task).state for task in tasks} == {"sent"}


@virtual
async def test_a_message_inside_a_call_names_the_call() -> None:
    world = CallWorld()
    call = await world.active()
    world.tell(
        sip.MessageReceived(
            account="a",
            session=call.session,
            from_uri="sip:b@x",
            from_display_name="B",
            content_type="text/plain",
            body=b"psst",
            headers=(),
        )
    )
    event = (await world.events())[-1]
    view = event.data["message"]
    assert (event.type, view.call, view.direction, view.body) == ("message.received", call.id, "in", "psst")
