"""The console of a phone with hundreds of accounts, at which a lot happens. The phone is a fake; the page is real."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from phoned.model import AccountState
from phoned.store.logins import console_link, issue_login
from tests.integration.api.conftest import Running, api_config, running
from tests.peers.harness.browser import Browser
from tests.peers.harness.console import ConsolePage

__all__ = ["api_config", "running"]  # fixtures

ACCOUNTS, CALLS, BURST = 300, 1200, 3000


@pytest.fixture
def tab(browser: Browser) -> Iterator[ConsolePage]:
    page = ConsolePage(browser)
    yield page
    problems = page.problems()
    page.close()
    assert problems == []


async def test_a_big_phone_stays_usable(running: Running, tab: ConsolePage) -> None:
    phone = running.phone
    phone.capacity = 10
    for number in range(ACCOUNTS):
        phone.add_account(f"line{number:03}", AccountState.BACKOFF if number == 250 else AccountState.ONLINE)
    for number in range(CALLS):
        call = await phone.remote_calls(caller=f"sip:{number}@example.org")
        await phone.remote_hangs_up(call.id)
    link = console_link("127.0.0.1", running.port, await asyncio.to_thread(issue_login, running.state_dir, "call"))

    def look() -> None:
        tab.visit(link)
        tab.see("No calls")
        tab.see(f"{ACCOUNTS + 1 - 8} more")
        assert tab.count(".last .row") == 30
        tab.press("u")
        tab.see(f"{ACCOUNTS} of {ACCOUNTS + 1} online")
        assert tab.count("article.account") == 48
        assert "line250" in tab.read("article.account")  # the one in trouble is the first
        tab.fill("Filter", "line123")
        tab.gone("line250")
        assert tab.count("article.account") == 1
        tab.press("Escape", "p")
        tab.see("No calls")

    await asyncio.to_thread(look)
    call = await phone.remote_calls()
    for number in range(BURST):
        await phone.tag(call.id, {"n": str(number)})

    def after() -> None:
        tab.see_role("region", "Incoming call", 30)
        tab.press("a")
        tab.see_role("article", "Call with 200")
        tab.press("e")
        tab.see("call.answered")

    await asyncio.to_thread(after)
