"""Writes session descriptions of real peers to tests/data/sdp, as they went over the wire.

Run ``python -m tests.peers.capture_sdp`` after an update of a peer. Addresses of this machine become documentation
addresses (RFC 5737, RFC 3849); everything else stays as it was.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.peers.harness.baresip import Baresip
from tests.peers.harness.browser import Browser, Library, Page
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.rtpengine import Rtpengine
from tests.peers.harness.sipp import SippEcho

TARGET = Path(__file__).parents[1] / "data" / "sdp"
IPV4 = re.compile(r"\b(?!127\.|0\.0\.0\.0|255\.)(?:\d{1,3}\.){3}\d{1,3}\b")
IPV6 = re.compile(r"(?<= )(?!::1 )[0-9a-f]*:[0-9a-f:]*:[0-9a-f]+(?= )")


def save(name: str, description: str) -> None:
    """Write one description, CRLF as it came."""
    TARGET.mkdir(parents=True, exist_ok=True)
    anonymous = IPV6.sub("2001:db8::2", IPV4.sub("192.0.2.2", description))
    (TARGET / f"{name}.sdp").write_bytes(anonymous.encode())


def newest(page: Page, direction: str) -> str:
    """The last description that a page sent or received."""
    return [text for way, text in page.descriptions() if way == direction][-1]


def chromium(kamailio: Kamailio, browser: Browser, caller_library: Library, callee_library: Library) -> None:
    """Offers of one library and answers of the other."""
    caller = browser.page(kamailio, "alice", library=caller_library)
    callee = browser.page(kamailio, "bob", library=callee_library)
    caller.call("bob")
    caller.wait("established")
    callee.wait("established")
    steps = {"": None, "-hold": caller.hold, "-unhold": caller.unhold, "-ice-restart": caller.restart_ice}
    for step, verb in steps.items():
        if verb is not None:
            verb()
        save(f"chromium-{caller_library}-offer{step}", newest(caller, "sent"))
        save(f"chromium-{callee_library}-answer{step}", newest(caller, "received"))
    caller.hangup()
    callee.wait_for("ended")
    caller.close()
    callee.close()


def rtpengine(kamailio: Kamailio, browser: Browser) -> None:
    """What rtpengine makes of plain RTP/AVP descriptions for a WebRTC phone, and the reverse."""
    page = browser.page(kamailio, "alice")
    with SippEcho(kamailio, "dave") as sipp:
        page.call("dave")
        page.wait("established")
        save("rtpengine-answer-for-sipp", newest(page, "received"))
        page.hangup()
        sipp.finish()
    with Baresip(kamailio, "carol") as baresip:
        page.call("carol")
        page.wait("established")
        save("rtpengine-answer-for-baresip", newest(page, "received"))
        page.hold()
        save("rtpengine-answer-for-baresip-hold", newest(page, "received"))
        page.unhold()
        page.restart_ice()
        save("rtpengine-answer-for-baresip-ice-restart", newest(page, "received"))
        page.hangup()
        baresip.wait_for("CALL_CLOSED")
        baresip.dial(kamailio.aor("alice"))
        page.wait("established")
        save("rtpengine-offer-from-baresip", newest(page, "received"))
        baresip.hangup()
        page.wait_for("ended", count=3)


def main() -> None:
    """Start the peers, make the calls, write the files."""
    with Rtpengine() as bridge, Kamailio(rtpengine=bridge) as kamailio, Browser() as browser:
        chromium(kamailio, browser, "jssip", "sipjs")
        chromium(kamailio, browser, "sipjs", "jssip")
        rtpengine(kamailio, browser)


if __name__ == "__main__":
    main()
