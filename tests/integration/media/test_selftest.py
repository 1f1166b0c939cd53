"""The contract with the libraries below, as `phoned doctor` tries it."""

from __future__ import annotations

import asyncio

import pytest

from phoned.media.selftest import SelfTestFailed, self_test


async def test_the_media_stack_does_what_we_need_of_it() -> None:
    result = await self_test()
    assert result.lost == 0
    assert 0 < result.swap_ms < 1000
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stack_that_cannot_connect_is_told() -> None:
    with pytest.raises(SelfTestFailed, match="the first connection"):
        await self_test(deadline_s=0.001)
