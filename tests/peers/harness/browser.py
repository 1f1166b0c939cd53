"""Headless Chromium with pages of JsSIP and SIP.js: far ends that nobody of this project wrote."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.peers.harness.kamailio import Kamailio, password
from tests.peers.harness.place import HERE, Place
from tests.peers.harness.sound import Sound
from tests.support.child import Child, missing, program, until

WEB = Path(__file__).parent.parent / "web"
Library = Literal["jssip", "sipjs"]
Json = dict[str, Any]


def install_packages() -> None:
    """`npm ci` where node_modules is missing or older than the lock file."""
    npm, lock, done = program("npm"), WEB / "package-lock.json", WEB / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    result = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=300, check=False)
    if result.returncode != 0:
        missing(f"npm ci in {WEB} failed (is a package registry reachable?):\n{result.stderr[-2000:]}")
    os.utime(done)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageStatistics:
    """Counters of the page's newest peer connection."""

    packets_received: int
    packets_sent: int
    packets_lost: int
    concealed_samples: int
    codec: str | None
    """``audio/opus``."""
    sends: str | None
    """The format parameters that its encoder goes by."""
    pair: str | None
    """``local:port remote:port`` of the nominated candidates."""


class Browser(Child):
    """One Chromium; `page` opens a page, which is one SIP user."""

    def __init__(self, place: Place = HERE) -> None:
        chromium, node = program("chromium"), program("node")
        install_packages()
        super().__init__("chromium")
        self._buffer = b""
        self._opened = 0
        self._requests = 0
        home = {"HOME": str(self.directory), "TMPDIR": str(self.directory)}
        try:
            argv = [node, str(WEB / "driver.mjs"), chromium, str(self.directory / "profile")]
            self.spawn(place.inside(argv), environment=home, pipes=True)
            self._answer(0, "start", 60.0)
        except BaseException:
            self.close()
            raise

    def page(
        self,
        kamailio: Kamailio,
        user: str,
        *,
        library: Library = "jssip",
        tone_hz: float = 440.0,
        auto_answer: bool = True,
        secure: bool = False,
    ) -> Page:
        """A registered phone with a tone as its microphone (0: silence)."""
        self._opened += 1
        page = Page(self, f"{user}-{self._opened}", library)
        self.request("open", page=page.name, library=library)
        options = {
            "url": kamailio.wss_url if secure else kamailio.ws_url,
            "domain": kamailio.domain,
            "user": user,
            "password": password(user),
            "tone": tone_hz,
            "autoAnswer": auto_answer,
        }
        page.do("start", options)
        page.wait("registered")
        return page

    def request(self, operation: str, timeout_s: float = 30.0, **fields: object) -> Any:
        """A command of the driver; see driver.mjs."""
        pipe = self.process.stdin
        if pipe is None or self.process.poll() is not None:
            raise RuntimeError(f"the browser's driver has ended:\n{self.log[-4000:]}")
        self._requests += 1
        pipe.write(json.dumps({"id": self._requests, "op": operation, **fields}).encode() + b"\n")
        pipe.flush()
        answer = self._answer(self._requests, f"{operation} {fields}", timeout_s)
        if "error" in answer:
            raise RuntimeError(f"{operation} {fields}: {answer['error']}")
        return answer["value"]

    def _answer(self, request: int, what: str, timeout_s: float) -> Json:
        deadline = time.monotonic() + timeout_s
        while True:
            answer = json.loads(self._line(what, deadline))
            # the answer to a request that was given up may come late
            if answer["id"] == request:
                return dict(answer)

    def _line(self, what: str, deadline: float) -> bytes:
        pipe = self.process.stdout
        if pipe is None:
            raise RuntimeError("the browser's driver has no stdout")
        while b"\n" not in self._buffer:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"browser: {what}: not in time\n{self.log[-4000:]}")
            data = os.read(pipe.fileno(), 1 << 20)
            if not data:
                raise RuntimeError(f"the browser's driver has ended:\n{self.log[-4000:]}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line


class Page:
    """A softphone in a page. Verbs return when the library took them, not when the far end answered."""

    def __init__(self, browser: Browser, name: str, library: Library) -> None:
        self.browser = browser
        self.name = name
        self.made_with = library

    def do(self, name: str, *arguments: object) -> Any:
        """A function of ``window.phone``."""
        return self.browser.request("do", page=self.name, name=name, args=list(arguments))

    def call(self, user: str) -> None:
        """Send an INVITE."""
        self.do("call", user)

    def answer(self) -> None:
        """Accept the incoming call."""
        self.do("answer")

    def reject(self, status: int) -> None:
        """Refuse the incoming call."""
        self.do("reject", status)

    def hangup(self) -> None:
        """BYE, or CANCEL when it still rings."""
        self.do("hangup")

    def transfer(self, user: str) -> int:
        """Refer the far end to somebody; returns the status of the call that it made. JsSIP only."""
        return int(self.do("transfer", user))

    def join(self) -> int:
        """Refer the far end of the call before the newest to that of the newest. JsSIP only."""
        return int(self.do("join"))

    def hold(self) -> None:
        """Put the far end on hold; returns when it agreed."""
        self.do("hold")

    def unhold(self) -> None:
        """Resume; returns when the far end agreed."""
        self.do("unhold")

    def restart_ice(self) -> None:
        """A re-INVITE with an ICE restart; returns when the far end agreed."""
        self.do("restartIce")

    def message(self, user: str, text: str) -> None:
        """Send text; returns when it was taken. JsSIP only."""
        self.do("message", user, text)

    def dtmf(self, digits: str, duration_ms: int = 100) -> None:
        """Send digits as RFC 4733 events."""
        self.do("dtmf", digits, duration_ms)

    def ask(self, parameters: str) -> None:
        """Make believe, for calls from now on, that the far end asks this of the Opus encoder."""
        self.do("ask", parameters)

    def stereo(self, right_hz: float) -> None:
        """Have another tone on the right, for calls from now on."""
        self.do("stereo", right_hz)

    def speak(self, on: bool) -> None:
        """Stop the tone, or let it sound again."""
        self.do("speak", on)

    def statistics(self) -> PageStatistics:
        """Packets so far."""
        found = self.do("statistics")
        return PageStatistics(
            packets_received=found["packetsReceived"],
            packets_sent=found["packetsSent"],
            packets_lost=found["packetsLost"],
            concealed_samples=found["concealedSamples"],
            codec=found["codec"],
            sends=found["sends"],
            pair=found["pair"],
        )

    def watch(self) -> None:
        """From now on note when packets come; `watched` tells."""
        self.do("watch")

    def watched(self) -> float:
        """The longest time since `watch` in which no packet came, seconds; the browser's counters are 50 ms apart."""
        return float(self.do("watched")) / 1000

    def heard(self, seconds: float) -> Sound:
        """The newest ``seconds`` of decoded audio."""
        found = self.do("heard", seconds)
        return Sound.from_pcm16(base64.b64decode(found["samples"]), int(found["rate"]))

    def listen(self, seconds: float, during: Callable[[], object] = lambda: None) -> Sound:
        """Record ``seconds`` from now on, doing ``during`` meanwhile."""
        self.do("forget")
        during()
        what = f"{self.name} records {seconds} s"
        until(lambda: self.do("heard", 0.05)["blocks"] >= seconds * 20, what, seconds + 10, 0.1)
        return self.heard(seconds)

    def wait_digits(self, digits: str, sending: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Until exactly these digits were heard since ``sending`` began."""
        self.do("forget")
        sending()
        try:
            self.wait_until(lambda: self.heard(timeout_s).dtmf() == digits, f"hears {digits}", timeout_s)
        except TimeoutError as error:
            raise AssertionError(f"heard {self.heard(timeout_s).dtmf()!r}, not {digits!r}: {error}") from None

    def wait_silence(self, timeout_s: float = 3.0) -> None:
        """Until the newest 200 ms are silent: what was under way when the far end stopped has been played."""
        self.wait_until(lambda: self.heard(0.2).level_dbfs < -60, "silence", timeout_s)

    def state(self) -> Json:
        """``registered``, ``ringing``, ``established``, the audio's ``direction``, the ``connection``'s state."""
        return dict(self.do("state"))

    def log(self, type_: str | None = None) -> list[Json]:
        """What happened, oldest first."""
        return [entry for entry in self.do("log") if type_ is None or entry["type"] == type_]

    def wire(self) -> list[str]:
        """The SIP messages, each after ``> `` (sent) or ``< ``."""
        return [("> " if entry["sent"] else "< ") + entry["text"] for entry in self.do("wire")]

    def descriptions(self) -> list[tuple[Literal["sent", "received"], str]]:
        """The session descriptions as they went over the wire."""
        found: list[tuple[Literal["sent", "received"], str]] = []
        for message in self.wire():
            head, _, body = message.partition("\r\n\r\n")
            if re.search(r"^Content-Type:\s*application/sdp", head, re.IGNORECASE | re.MULTILINE) and body:
                found.append(("sent" if message.startswith(">") else "received", body))
        return found

    def wait(self, state: str, timeout_s: float = 10.0) -> None:
        """Until ``registered``, ``ringing`` or ``established``."""
        self.wait_until(lambda: bool(self.state()[state]), state, timeout_s)

    def wait_flowing(self, timeout_s: float = 10.0) -> None:
        """Until the call is up and audio has come for a fifth of a second."""
        self.wait("established", timeout_s)
        self.wait_until(lambda: self.statistics().packets_received > 10, "audio", timeout_s)

    def wait_for(self, type_: str, timeout_s: float = 10.0, count: int = 1) -> Json:
        """Until something was logged ``count`` times; returns the newest entry."""
        self.wait_until(lambda: len(self.log(type_)) >= count, f"{count} x {type_}", timeout_s)
        return self.log(type_)[-1]

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        """Poll; the error shows the page's log."""
        try:
            until(condition, f"{self.name} ({self.made_with}): {what}", timeout_s, 0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log()}\n{self.browser.log[-3000:]}") from None

    def close(self) -> None:
        """Close the page; its WebSocket goes with it."""
        self.browser.request("close", page=self.name)
