"""A phone that roams and a browser it talks to: Kamailio and Chromium in the lab's core, phoned on its two uplinks.

The lab, the server and the browser are made once; each `Story` is a fresh daemon, and a fresh call if one is wanted, so
that no repetition knows of the one before. All times are CLOCK_MONOTONIC, all durations seconds.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from subprocess import Popen
from typing import Any, Self

from tests.network.harness.tap import Tap
from tests.peers.harness.browser import Browser, Page
from tests.peers.harness.kamailio import Contact, Kamailio, password
from tests.peers.harness.phone import ACCOUNT, PHONE_HZ, USER, account, play_tone, wait_flowing
from tests.peers.harness.place import LabPlace
from tests.peers.harness.rtpengine import Rtpengine
from tests.peers.harness.sound import sine, write_wav
from tests.peers.harness.turn import Coturn
from tests.support.child import until
from tests.support.daemon import PhonedProcess, SeenEvent
from tests.support.netns import Lab, Place, Uplink

FAR = "bob"
FAR_HZ = 440.0
SETTLED_S = 1.0
"""Both ends hear each other for so long before anything happens to them."""
COUNTED_EVERY_S = 0.05
"""How exact the gaps are that the ends' own counters tell."""


class RoamingPhone(PhonedProcess):
    """`phoned run` in a namespace of a lab; it can be killed and started again on the same state."""

    def __init__(
        self, lab: Lab, account: Mapping[str, Any], media: Mapping[str, Any] | None = None, place: Place = "phone"
    ) -> None:
        configuration = {
            "media": {"allow_loopback": False, **(media or {})},
            "accounts": [dict(account)],
            "network": {"allow_private": ["127.0.0.0/8"]},  # for bots beside it
        }
        super().__init__(configuration, secrets={"password": password(USER), "turn_password": Coturn.password})
        write_wav(self.media / "tone.wav", sine(PHONE_HZ, 2.0))
        self._lab = lab
        self._place: Place = place

    def spawn(
        self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, pipes: bool = False
    ) -> Popen[bytes]:
        return super().spawn(self._lab.inside(self._place, argv), environment=environment, pipes=pipes)

    def kill(self) -> None:
        """SIGKILL: no word to anybody. The runtime directory is emptied, as a service manager does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.events.join()
        self.http.close()
        self.socket.unlink()

    def pause(self) -> None:
        """SIGSTOP: the machine sleeps, as far as the daemon can tell."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self.process.pid, signal.SIGCONT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """The longest times without audio since something happened, at each end."""

    phone: float
    far: float

    @property
    def longest(self) -> float:
        return max(self.phone, self.far)


class Counted:
    """The received packets that both ends have understood, looked at again and again."""

    def __init__(self, phone: RoamingPhone, page: Page, call: str, since: float) -> None:
        self._phone, self._page, self._call = phone, page, call
        self._here = self._far = 0
        self._grown_here_at = since
        self._good: list[float] = []
        self.longest_here = 0.0

    def look(self) -> None:
        """Once more."""
        here = int(self._phone.stats(self._call)["packets_received"])
        far = self._page.statistics().packets_received
        now = time.monotonic()
        grows_here = here != self._here
        if grows_here:
            self._grown_here_at = now
        else:  # as long as is certain: it may have grown right after a look, and again right before the next
            self.longest_here = max(self.longest_here, now - self._grown_here_at)
        if grows_here and far != self._far:
            self._good.append(now)
        self._here, self._far = here, far

    def both_grow(self) -> bool:
        """They did in most of the latest looks."""
        return len([at for at in self._good if at > time.monotonic() - SETTLED_S]) >= 5

    def __str__(self) -> str:
        return f"received here {self._here}, at the far end {self._far}"


class Story:
    """One daemon, its registration and perhaps its call."""

    def __init__(self, scene: Scene, phone: RoamingPhone) -> None:
        self.scene = scene
        self.phone = phone
        self.page: Page | None = None
        self.call_id = ""
        self.playback = ""
        """What the phone says in the call, over and over."""

    def call(self) -> None:
        """Call the browser; returns when both have heard each other for a while."""
        self.page = self.scene.page()
        self.call_id = self.phone.place(ACCOUNT, FAR)
        self.page.wait_flowing()
        wait_flowing(self.phone, self.call_id)
        self.playback = play_tone(self.phone, self.call_id)
        until(self.both_hear, "both ends hear each other", 15)
        self.page.watch()

    def both_hear(self) -> bool:
        """RTP has arrived steadily at both ends."""
        return self.scene.at_phone.steady("in", SETTLED_S) and self.scene.at_far.steady("in", SETTLED_S)

    @property
    def generation(self) -> int:
        """Of the flow in use."""
        return int(self.phone.account(ACCOUNT)["registration"]["flow_generation"])

    def contacts(self) -> list[Contact]:
        """What the registrar holds of the phone."""
        return self.scene.server.contacts(USER)

    def mark(self) -> SeenEvent:
        """The newest event: what is waited for comes later."""
        self.phone.events.wait_for("account.registered")
        return self.phone.events.seen[-1]

    def restart(self) -> None:
        """SIGKILL, and a new process on the same state at once; returns when it has taken the call up again."""
        self.phone.kill()
        self.phone.start()
        self.phone.wait_ready()
        if self.call_id:
            self.phone.wait_call(self.call_id, "is taken up again", lambda view: bool(view["state"] == "active"), 20)

    def registered_after(self, mark: SeenEvent, timeout_s: float) -> float:
        """When the account was told to be registered again."""
        event = self.phone.events.wait_for("account.reconnected", timeout_s=timeout_s, after=mark)
        return event.at

    def online_after(self, mark: SeenEvent, timeout_s: float) -> float:
        """When the account was good again: registered anew, or a doubt disproved. Now, if it was never doubted."""
        until(lambda: self.phone.account(ACCOUNT)["state"] == "online", "the account is online", timeout_s)
        now = time.monotonic()
        told = [event.at for event in self.phone.events.of("account.reconnected") if (event.seq or 0) > (mark.seq or 0)]
        return told[-1] if told else now

    def hear_again(self, since: float, timeout_s: float) -> Gaps:
        """Wait until the audio is good at both ends; the gaps since ``since``. What arrives without being understood is
        no audio: where an end's own counters tell a longer gap than the wire, they are believed."""
        assert self.page is not None
        counted = Counted(self.phone, self.page, self.call_id, since)
        deadline = time.monotonic() + timeout_s
        while not (self.both_hear() and counted.both_grow()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"audio at both ends again: not within {timeout_s} s; {counted}")
            counted.look()
            time.sleep(COUNTED_EVERY_S / 2)
        return Gaps(
            phone=max(self.scene.at_phone.gap("in", since), counted.longest_here),
            far=max(self.scene.at_far.gap("in", since), self.page.watched() - COUNTED_EVERY_S),
        )

    def recoveries(self) -> list[dict[str, Any]]:
        """What the phone says of its own repairs."""
        return list(self.phone.stats(self.call_id)["recoveries"])


class Scene:
    """The lab and everything in it that outlives a story. Media go straight from end to end, or with ``anchored``
    through rtpengine, or with ``relayed`` through coturn and nowhere else."""

    def __init__(
        self,
        *,
        rtt_ms: float = 50.0,
        nat: Sequence[Uplink] = (),
        anchored: bool = False,
        relayed: bool = False,
    ) -> None:
        self._stack = ExitStack()
        try:
            self.lab = self._stack.enter_context(Lab(rtt_ms=rtt_ms, start_on="wifi", nat=nat))
            core = LabPlace(self.lab, "core")
            rtpengine = self._stack.enter_context(Rtpengine(core)) if anchored else None
            self.server = self._stack.enter_context(Kamailio(place=core, rtpengine=rtpengine, anchored=anchored))
            self.backup = self._stack.enter_context(Kamailio(place=core))
            self.at_phone = self._stack.enter_context(Tap(self.lab, "phone"))
            self.at_far = self._stack.enter_context(Tap(self.lab, "core"))
            self._media = _relayed(self._stack.enter_context(Coturn(core))) if relayed else {}
        except BaseException:
            self._stack.close()
            raise
        self._core = core
        self._browser: Browser | None = None
        self._page: Page | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def page(self) -> Page:
        """The far end, registered."""
        if self._browser is None:
            self._browser = self._stack.enter_context(Browser(self._core))
        if self._page is None:
            self._page = self._browser.page(self.server, FAR, tone_hz=FAR_HZ)
        return self._page

    @contextmanager
    def ringing_page(self) -> Iterator[Page]:
        """The far end as one that lets calls ring."""
        if self._browser is None:
            self._browser = self._stack.enter_context(Browser(self._core))
        page = self._browser.page(self.server, FAR, tone_hz=FAR_HZ, auto_answer=False)
        try:
            yield page
        finally:
            page.close()

    @contextmanager
    def story(
        self,
        *,
        call: bool = True,
        both_uplinks: bool = False,
        recovery: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Iterator[Story]:
        """A registered phone, with a call up or without, on wifi; with ``both_uplinks`` lte is there as well."""
        self.restore(both_uplinks=both_uplinks)
        self.forget_phones()
        if call:
            self.page()
        table = account(self.server, recovery=recovery, **fields)
        try:
            with RoamingPhone(self.lab, table, self._media) as phone:
                try:
                    phone.start()
                    phone.wait_ready()
                    story = Story(self, phone)
                    if call:
                        story.call()
                    yield story
                except Exception as error:
                    error.add_note(f"phoned said:\n{phone.log[-8000:]}")
                    raise
                finally:
                    self.restore(both_uplinks=both_uplinks)
        finally:
            self.close_page()

    def close_page(self) -> None:
        """The far end goes; the next call gets a new one."""
        if self._page is not None:
            page, self._page = self._page, None
            page.close()

    def restore(self, *, both_uplinks: bool) -> None:
        """Undo whatever was done to network and servers."""
        self.lab.handover("wifi")
        if both_uplinks:
            self.lab.carrier("lte", True)
            self.lab.address("lte", True)
        self.lab.drop_nothing("wifi")
        self.lab.drop_nothing("lte")
        self.lab.run("wifi", ["nft", "delete", "table", "inet", "silent"])
        for server in (self.server, self.backup):
            if server.process.poll() is None:
                server.resume()
            else:
                server.start()
            server.fresh()

    def forget_phones(self) -> None:
        """Remove the bindings of phones before: some ended without a way to say so."""
        for server in (self.server, self.backup):
            if server.contacts(USER):
                server.rpc("ul.rm", "location", USER)

    def silence(self) -> float:
        """The phone's present WebSocket dies without a word: its packets vanish, those of others do not."""
        source = self.server.requests("REGISTER", USER)[-1].source
        port = source.rpartition(":")[2]
        rules = [
            "add table inet silent",
            "add chain inet silent f { type filter hook forward priority -20 ; }",
            f"add rule inet silent f tcp sport {port} drop",
            f"add rule inet silent f tcp dport {port} drop",
        ]
        at = time.monotonic()
        done = self.lab.run("wifi", ["nft", "; ".join(rules)])
        assert done.returncode == 0, done.stderr
        return at


def _relayed(server: Coturn) -> dict[str, Any]:
    """``[media]`` of a phone that may use nothing but this server."""
    turn = {"url": server.url, "username": server.username, "credential_file": "turn_password"}
    return {"relay_only": True, "turn": [turn]}


__all__ = ["ACCOUNT", "FAR", "USER", "Gaps", "RoamingPhone", "Scene", "Story"]
