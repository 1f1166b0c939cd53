"""The deadlines of the steps of a dial."""

from __future__ import annotations

import asyncio

import pytest

from phoned.model import Cause
from phoned.transport.connect import Attempt, StepDeadlines
from phoned.transport.flow import FlowError
from tests.support.calls import virtual


def test_the_steps_have_their_shares_of_the_attempt() -> None:
    assert StepDeadlines().within(5.0) == StepDeadlines()
    assert StepDeadlines().within(1.0) == StepDeadlines(), "the attempt bounds them"
    assert StepDeadlines().within(10.0) == StepDeadlines(dns_s=4, tcp_s=6, proxy_s=6, tls_s=6, upgrade_s=6)


@pytest.mark.behaviour("P3")
@pytest.mark.parametrize(("attempt_s", "upgrade_s"), [(2.0, 2.0), (5.0, 3.0), (10.0, 6.0)])
@virtual
async def test_a_step_of_a_longer_attempt_may_take_longer(attempt_s: float, upgrade_s: float) -> None:
    loop = asyncio.get_running_loop()
    attempt, began = Attempt(attempt_s), loop.time()
    with pytest.raises(FlowError) as caught:
        async with attempt.step("upgrade", StepDeadlines().within(attempt_s).upgrade_s):
            await asyncio.sleep(60)
    assert caught.value.cause is Cause.TIMEOUT
    assert loop.time() - began == pytest.approx(upgrade_s)
