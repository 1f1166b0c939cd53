"""The peers work without phoned: what fails here is the machine or the harness, not the phone."""

from __future__ import annotations

import re
import ssl
from hashlib import md5
from typing import Literal

import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.peers.conftest import OpenPage
from tests.peers.harness.baresip import Baresip
from tests.peers.harness.browser import Browser, Library
from tests.peers.harness.kamailio import Kamailio, password
from tests.peers.harness.phone import assert_flows, assert_tone
from tests.peers.harness.sipp import SippEcho
from tests.peers.harness.sound import COLUMNS, KEYS, ROWS, Sound, sine
from tests.support.child import program, until


def register(socket: ClientConnection, kamailio: Kamailio, user: str, secret: str) -> list[int]:
    """REGISTER, once more with credentials if asked; returns the statuses."""
    uri, statuses, credentials = f"sip:{kamailio.domain}", list[int](), ""
    for cseq in (1, 2):
        socket.send(
            f"REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/WS probe.invalid;branch=z9hG4bKprobe{cseq}\r\nMax-Forwards: 70\r\n"
            f"From: <{kamailio.aor(user)}>;tag=probe\r\nTo: <{kamailio.aor(user)}>\r\nCall-ID: probe\r\n"
            f"CSeq: {cseq} REGISTER\r\nContact: <sip:{user}@probe.invalid;transport=ws>\r\nExpires: 60\r\n{credentials}"
            "Content-Length: 0\r\n\r\n"
        )
        answer = socket.recv(timeout=5)
        assert isinstance(answer, str)
        statuses.append(int(answer.split()[1]))
        challenge = re.search(r'realm="([^"]+)", nonce="([^"]+)"', answer)
        if challenge is None:
            break
        realm, nonce = challenge.groups()

        def hashed(*parts: str) -> str:
            return md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

        proof = hashed(hashed(user, realm, secret), nonce, "00000001", "c", "auth", hashed("REGISTER", uri))
        credentials = (
            f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
            f'response="{proof}", algorithm=MD5, cnonce="c", qop=auth, nc=00000001\r\n'
        )
    return statuses


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_kamailio_registers_with_digest(kamailio: Kamailio, scheme: Literal["ws", "wss"]) -> None:
    trust = ssl.create_default_context(cafile=kamailio.ca_file) if scheme == "wss" else None
    url = kamailio.wss_url if scheme == "wss" else kamailio.ws_url
    with connect(url, subprotocols=[Subprotocol("sip")], ssl=trust, proxy=None) as socket:
        assert socket.subprotocol == "sip"
        assert register(socket, kamailio, "dave", password("dave")) == [401, 200]
        (contact,) = kamailio.contacts("dave")
        assert contact.uri == "sip:dave@probe.invalid;transport=ws"
        assert [seen.authorised for seen in kamailio.requests("REGISTER", "dave")] == [False, True]
    until(lambda: not kamailio.contacts("dave"), "the registrar drops the contact of a closed connection")


def test_kamailio_refuses_a_wrong_password(kamailio: Kamailio) -> None:
    with connect(kamailio.ws_url, subprotocols=[Subprotocol("sip")], proxy=None) as socket:
        assert register(socket, kamailio, "dave", "wrong") == [401, 401]
        assert kamailio.contacts("dave") == []


def test_kamailio_fails_as_told_and_forgets_it(kamailio: Kamailio) -> None:
    kamailio.fail("REGISTER", 503, times=1, retry_after_s=7)
    with connect(kamailio.ws_url, subprotocols=[Subprotocol("sip")], proxy=None, close_timeout=0.2) as socket:
        assert register(socket, kamailio, "dave", password("dave")) == [503]
        assert register(socket, kamailio, "dave", password("dave")) == [401, 200]
        assert kamailio.close_connections() == 1
        # Kamailio closes the TCP connection only six seconds later
        until(lambda: socket.protocol.close_rcvd, "a CLOSE frame")


@pytest.mark.parametrize(("caller", "callee"), [("jssip", "sipjs"), ("sipjs", "jssip")])
def test_pages_hear_each_others_tone(open_page: OpenPage, caller: Library, callee: Library) -> None:
    bob, carol = open_page("bob", caller, tone_hz=440), open_page("carol", callee, tone_hz=1000)
    bob.call("carol")
    bob.wait("established")
    carol.wait("established")
    assert_tone(bob.listen(1.0), 1000)
    assert_tone(carol.listen(1.0), 440)
    assert_flows(lambda: (bob.statistics().packets_sent, bob.statistics().packets_received), lambda: bob.listen(2.0))
    bob.hold()
    assert carol.state()["direction"] == "recvonly"
    carol.wait_silence()
    assert carol.listen(0.5).level_dbfs < -60
    bob.unhold()
    carol.wait_until(lambda: carol.heard(0.2).level_dbfs > -30, "hears again")
    bob.hangup()
    carol.wait_for("ended")


def test_pages_send_digits(open_page: OpenPage) -> None:
    bob, carol = open_page("bob", tone_hz=0), open_page("carol", "sipjs")
    bob.call("carol")
    carol.wait_flowing()
    # Chromium plays an event only as far as it is not over when the jitter buffer comes to it
    carol.wait_digits("159#", lambda: bob.dtmf("159#", duration_ms=300))


def test_rtpengine_bridges_to_plain_rtp(bridge: Kamailio, browser: Browser, baresip: Baresip) -> None:
    page = browser.page(bridge, "bob", tone_hz=440)
    page.call("carol")
    page.wait("established")
    assert_tone(page.listen(1.0), 1000)
    assert_tone(baresip.heard().last(0.5), 440)
    page.hangup()
    baresip.wait_for("CALL_CLOSED")
    baresip.dial(bridge.aor("bob"))
    page.wait("established")
    assert_tone(page.listen(1.0), 1000)
    baresip.hangup()
    page.wait_for("ended", count=2)
    page.close()


def test_sipp_echoes(bridge: Kamailio, browser: Browser) -> None:
    with SippEcho(bridge, "dave") as sipp:
        page = browser.page(bridge, "bob", tone_hz=700)
        page.call("dave")
        page.wait("established")
        assert_tone(page.listen(1.0), 700)
        page.hangup()
        assert sipp.finish() == 0
        page.close()


def test_a_missing_peer_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install"):
        program("sipp-of-another-age")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install"):
        program("sipp-of-another-age")


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_sound_measures_tones_and_digits(rate: int) -> None:
    tone = Sound(sine(600, 1, rate, 0.5), rate).tone()
    assert tone.frequency_hz == 600
    assert tone.level_dbfs == pytest.approx(-9.03, abs=0.1)
    assert tone.purity > 0.999
    pause = np.zeros(rate // 10)
    parts = [pause]
    for row in ROWS:
        for column in COLUMNS:
            parts += [sine(row, 0.045, rate, 0.1) + sine(column, 0.045, rate, 0.12), pause]
    assert Sound(np.concatenate(parts), rate).dtmf() == "".join(KEYS)
    noise = np.random.default_rng(1).normal(0, 0.3, rate)
    assert Sound(noise, rate).dtmf() == ""
    assert Sound(noise, rate).tone().purity < 0.5
    assert Sound(np.zeros(rate), rate).tone().purity == 0
