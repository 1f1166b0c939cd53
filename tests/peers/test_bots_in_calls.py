"""Stock Pipecat bots in calls from Chromium: the browser hears the bot, the bot hears the browser."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from phoned.twilio import call_of_sid, call_sid, stream_sid
from tests.peers.conftest import OpenPage, StartPhone, online, show
from tests.peers.harness.bots import ACCOUNT_SID, TOKEN, PipecatBot, Serializer, twilio_variables
from tests.peers.harness.browser import Page
from tests.peers.harness.kamailio import Kamailio, password
from tests.peers.harness.phone import USER, account, assert_tone, ended, wait_flowing
from tests.peers.harness.sound import Sound
from tests.support.child import free_ports
from tests.support.daemon import PhonedProcess

PAGE_HZ, BOT_HZ = 440.0, 700.0
PORT = free_ports(1)[0]
BASE_URL = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def phone(kamailio: Kamailio, start_phone: StartPhone) -> PhonedProcess:
    """A daemon that may dial bots of this machine, and whose API is Twilio's, too."""
    configuration = {
        "accounts": [account(kamailio)],
        "api": {"port": PORT, "stream_urls": ["ws://127.0.0.1:*/ws"]},
        "network": {"allow_private": ["127.0.0.0/8"]},
        "twilio": {"account_sid": ACCOUNT_SID, "auth_token_file": "twilio.token"},
    }
    secrets = {"password": password(USER), "twilio.token": TOKEN}
    return online(start_phone(PhonedProcess(configuration, secrets=secrets)))


def sounds(frequency_hz: float) -> Callable[[Sound], bool]:
    """Whether a sound is this tone, loud."""

    def check(sound: Sound) -> bool:
        return sound.level_dbfs > -30 and sound.tone().frequency_hz == pytest.approx(frequency_hz, abs=5)

    return check


def ordered(phone: PhonedProcess, page: Page, bot: PipecatBot, protocol: str, rate: int) -> str:
    """A call that comes in is answered and given to the bot; the call's id."""
    page.call(USER)
    call = phone.incoming()
    phone.verb(call, "answer")
    order = {"url": bot.url, "protocol": protocol, "sample_rate": rate, "parameters": {"greeting": "hello"}}
    phone.verb(call, "streams", status=201, **order)
    return call


def connected_by_twiml(bot: PipecatBot, to: str) -> str:
    """A call is placed as a program for Twilio places one, with the bot in its TwiML; the call's id."""
    stream = f"<Stream url='{bot.url}'><Parameter name='greeting' value='hello'/></Stream>"
    form = {"To": to, "From": USER, "Twiml": f"<Response><Connect>{stream}</Connect></Response>"}
    url = f"{BASE_URL}/2010-04-01/Accounts/{ACCOUNT_SID}/Calls.json"
    answer = httpx.post(url, data=form, auth=(ACCOUNT_SID, TOKEN), trust_env=False)
    assert answer.status_code == 201, answer.text
    return str(call_of_sid(answer.json()["sid"]))


@pytest.mark.parametrize(
    ("serializer", "protocol", "rate", "twiml"),
    [("twilio", "twilio", 8000, False), ("twilio", "twilio", 8000, True), ("vonage", "l16", 16000, False)],
    ids=["twilio", "twiml", "vonage"],
)
def test_a_stock_bot_talks_takes_digits_is_interrupted_and_hangs_up(
    phone: PhonedProcess, open_page: OpenPage, serializer: Serializer, protocol: str, rate: int, twiml: bool
) -> None:
    page = open_page("bob", tone_hz=PAGE_HZ)
    with PipecatBot(serializer, rate, twilio_variables(BASE_URL, ACCOUNT_SID, TOKEN)) as bot:
        call = connected_by_twiml(bot, "bob") if twiml else ordered(phone, page, bot, protocol, rate)
        page.wait_flowing()
        wait_flowing(phone, call)
        stream = phone.events.wait_for("stream.started").data["stream"]
        page.wait_until(lambda: sounds(PAGE_HZ)(page.heard(0.4)), "hears itself, echoed by the bot")
        assert_tone(page.listen(1.5), PAGE_HZ)

        page.dtmf("5")
        page.wait_until(lambda: sounds(BOT_HZ)(page.heard(0.4)), "hears the bot")
        assert_tone(page.listen(1.0), BOT_HZ)
        page.dtmf("0")
        bot.wait("interrupted")
        page.wait_until(lambda: sounds(PAGE_HZ)(page.heard(0.4)), "hears its echo again")
        assert [told["digit"] for told in bot.told("dtmf")] == ["5", "0"]
        if serializer == "twilio":
            connected = bot.told("connected")[0]
            assert (connected["call"], connected["stream"]) == (call_sid(call), stream_sid(stream["id"]))
            assert connected["body"]["greeting"] == "hello"

        page.dtmf("#")
        page.wait_for("ended", 15.0)
        end = ended(phone, call)
        assert (end["cause"], end["by"]) == ("completed", "local")
        bot.wait("over")
        assert ("Successfully terminated Twilio call" in bot.log) is (serializer == "twilio")
        show("pipecat", bot.log)
