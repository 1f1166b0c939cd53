"""What `phonectl top` shows: accounts and calls as the events tell of them. Pure: events in, rows out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.ctl.output import clean, table

Json = dict[str, Any]
QUALITY = ("mos", "jitter_ms", "loss_pct", "rtt_ms")


class Board:
    """The phone now. Driven by `take` with each event in order; times are the caller's monotonic seconds."""

    def __init__(self) -> None:
        self.accounts: dict[str, Json] = {}
        self.calls: dict[str, Json] = {}
        self.connected = True
        self.known = False
        """A snapshot has come."""
        self._quality: dict[str, Json] = {}
        self._heard_at: dict[str, float] = {}

    def take(self, event: Mapping[str, Any], now: float) -> None:
        """One event of the stream."""
        type_, data = event["type"], event["data"]
        if type_ in ("events.snapshot", "events.gap") and "accounts" in data:
            self._begin(data, now)
            return
        if isinstance(data.get("account"), dict):
            self.accounts[data["account"]["id"]] = data["account"]
        if isinstance(data.get("call"), dict):
            self._hear(data["call"], now)
            if type_ == "call.quality":
                self._quality[data["call"]["id"]] = {name: data.get(name) for name in QUALITY}

    def _begin(self, data: Mapping[str, Any], now: float) -> None:
        self.accounts = {view["id"]: view for view in data["accounts"]}
        self.calls, self._heard_at = {}, {}
        for view in data["calls"]:
            self._hear(view, now)
        self._quality = {call: found for call, found in self._quality.items() if call in self.calls}
        self.known = True

    def _hear(self, view: Json, now: float) -> None:
        if view["state"] == "ended":
            self.calls.pop(view["id"], None)
            self._quality.pop(view["id"], None)
            self._heard_at.pop(view["id"], None)
            return
        self.calls[view["id"]] = view
        self._heard_at[view["id"]] = now

    def snapshot(self, now: float) -> Json:
        """All of it as one object: accounts, and calls with ``quality`` (null in the first 5 s) and with a
        ``duration_s`` that goes on between events."""
        calls = [
            {**view, "duration_s": round(self.duration_s(view, now), 1), "quality": self._quality.get(call)}
            for call, view in self.calls.items()
        ]
        return {"connected": self.connected, "accounts": list(self.accounts.values()), "calls": calls}

    def duration_s(self, view: Mapping[str, Any], now: float) -> float:
        """How long the call has been up."""
        since_s = now - self._heard_at[view["id"]] if view["state"] == "active" else 0.0
        return float(view["duration_s"]) + max(0.0, since_s)

    def lines(self, now: float) -> list[str]:
        """For people: a line about the whole, the accounts, the calls."""
        online = sum(view["state"] == "online" for view in self.accounts.values())
        head = f"{online} of {len(self.accounts)} accounts online, {len(self.calls)} calls"
        if not self.connected:
            head += "  (connection lost, looking for the daemon)"
        accounts = [
            (view["id"], view["state"], _calls_of(self.calls, view["id"]), view["aor"], _why(view))
            for view in self.accounts.values()
        ]
        lines = [head, "", *table(("ACCOUNT", "STATE", "CALLS", "ADDRESS", "LAST ERROR"), accounts).split("\n")]
        if self.calls:
            rows = [self._row(view, now) for view in self.calls.values()]
            titles = ("CALL", "DIR", "STATE", "PEER", "TIME", "MOS", "LOSS", "JITTER", "RTT", "RECOVERING")
            lines += ["", *table(titles, rows).split("\n")]
        return lines

    def _row(self, view: Mapping[str, Any], now: float) -> tuple[str, ...]:
        peer, sound = view["peer"], self._quality.get(view["id"], {})
        return (
            view["id"],
            view["direction"],
            "held" if view["hold"]["local"] or view["hold"]["remote"] else view["state"],
            clean(peer["display_name"] or peer["number"] or peer["uri"])[:24],
            clock(self.duration_s(view, now)),
            _figure(sound.get("mos"), "{:.1f}"),
            _figure(sound.get("loss_pct"), "{:.1f}%"),
            _figure(sound.get("jitter_ms"), "{:.0f}ms"),
            _figure(sound.get("rtt_ms"), "{:.0f}ms"),
            view["recovering"]["plane"] if view["recovering"] else "",
        )


def clock(seconds: float) -> str:
    """``0:07``, ``1:02:03``."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _calls_of(calls: Mapping[str, Mapping[str, Any]], account: str) -> int:
    return sum(view["account"] == account for view in calls.values())


def _why(view: Mapping[str, Any]) -> str:
    error = view["registration"]["last_error"]
    return "" if error is None or view["state"] == "online" else f"{error['cause']} {error['detail']}".strip()
