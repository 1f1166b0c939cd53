"""What peers send is text in the console, whatever it looks like. The phone is a fake: it says what no SIP stack lets
through; the API, the page and the browser are real."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Iterator

import pytest

from phoned.model import Cause as FlowCause
from phoned.model import LastError, Peer, RegistrationView, SipMessageView, TraceView
from phoned.store.logins import console_link, issue_login
from tests.integration.api.conftest import Running, api_config, running
from tests.peers.harness.browser import Browser
from tests.peers.harness.console import ConsolePage
from tests.support.fake_phone import EPOCH

__all__ = ["api_config", "running"]  # fixtures

MARKUP = '<img src=x onerror="window.hurt=1"><script>window.hurt=2</script><b>bold</b>'
NAMES = (
    MARKUP,
    '"><svg/onload=alert(1)>',
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)}",
    '{"type":"script","props":{"dangerouslySetInnerHTML":{"__html":"<script>window.hurt=3</script>"}}}',
    "a\u202egnp.exe\u2066 \u0000\u0007 end",
    "W" * 400,
)


@pytest.fixture
def tab(browser: Browser) -> Iterator[ConsolePage]:
    page = ConsolePage(browser)
    yield page
    page.close()


UNSEEN = re.compile("[\u0000-\u001f\u202e\u2066]")
"""Of what is in `NAMES`: shown as a mark, because it could make one name look like another."""


def unhurt(tab: ConsolePage) -> None:
    assert tab.evaluate("window.hurt ?? null") is None
    assert (
        tab.evaluate("document.querySelectorAll('#app script, #app svg[onload], #app b, #app img[src=x]').length") == 0
    )
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
    assert tab.problems() == []


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
async def test_names_of_peers_stay_text(running: Running, tab: ConsolePage, name: str) -> None:
    link = console_link("127.0.0.1", running.port, await asyncio.to_thread(issue_login, running.state_dir, "admin"))
    await asyncio.to_thread(tab.visit, link, size=(800, 480))
    await asyncio.to_thread(tab.see, "No calls")
    phone = running.phone
    call = await phone.remote_calls(caller=f"sip:{name}@example.org")
    peer = Peer(uri=f"sip:{name}@example.org", number=name, display_name=name)
    view = await phone.remote_is(call.id, peer=peer, tags={name: name}, headers={"X-Name": name})
    phone.set_account(
        "front",
        aor=name,
        registration=RegistrationView(
            contact=name, flow_generation=1, last_error=LastError(cause=FlowCause.TLS, sip_code=500, detail=name)
        ),
    )
    message = SipMessageView(
        time=EPOCH,
        direction="received",
        sip_call_id=name,
        flow=1,
        transport="WS",
        local="192.0.2.1:1",
        remote="192.0.2.2:2",
        text=f"SIP/2.0 486 {name}\r\nCSeq: 1 {name}\r\nFrom: {name}\r\n\r\n{name}",
    )
    phone.traces[call.id] = TraceView(call=call.id, sip_call_ids=(name,), complete=True, messages=(message,))

    def look() -> None:
        tab.see_role("region", "Incoming call")
        assert tab.read(".incoming .name").split() == UNSEEN.sub("\ufffd", name).split()
        unhurt(tab)
        tab.press("i")
        tab.see_role("tab", "SIP")
        for part in ("Recovery", "SIP", "Facts", "Sound"):
            tab.click(part, "tab")
            if part == "SIP":
                tab.see_css(".message")
                tab.evaluate("document.querySelector('.message details').open = true")
            unhurt(tab)
        tab.press("a")
        tab.see("Active")
        tab.press("e")
        tab.see("call.answered")
        tab.evaluate("document.querySelectorAll('.event details').forEach((one) => { one.open = true; })")
        tab.see("To the call")
        unhurt(tab)
        tab.go("accounts")
        tab.see_role("article", "Account front")
        unhurt(tab)

    await asyncio.to_thread(look)
    assert dataclasses.asdict(view.peer)["display_name"] == name
    await phone.remote_hangs_up(call.id)

    def after() -> None:
        tab.press("p")
        tab.see_css(".last .row")
        unhurt(tab)
        tab.click("again")  # back into the field, as it was
        unhurt(tab)
        tab.shot(f"hostile-{NAMES.index(name)}")

    await asyncio.to_thread(after)
