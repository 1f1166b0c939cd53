"""How `phonectl` writes: JSON for programs, columns for people, notes on stderr."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_COLOURS = {
    "online": "32",
    "active": "32",
    "ok": "32",
    "FAIL": "31",
    "ended": "2",
    "backoff": "33",
    "suspect": "33",
    "auth_failed": "31",
}


def emit(value: object, *, as_json: bool, text: str) -> None:
    """``value`` for programs, ``text`` for people, on stdout."""
    print(json.dumps(value, ensure_ascii=False) if as_json else text, flush=True)


def note(text: str) -> None:
    """For whoever watches, on stderr."""
    print(text, file=sys.stderr, flush=True)


def clean(value: object) -> str:
    """What a peer wrote must not steer the terminal: control and direction characters become visible."""
    return "".join(
        char if unicodedata.category(char)[0] != "C" else f"\\u{ord(char):04x}"
        for char in ("" if value is None else str(value))
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns."""
    cells = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], *(_coloured(line, row) for line, row in zip(lines[1:], cells[1:], strict=True))])


def _coloured(line: str, row: Sequence[str]) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return line
    colour = next((_COLOURS[cell] for cell in row if cell in _COLOURS), None)
    return f"\x1b[{colour}m{line}\x1b[0m" if colour else line


def accounts(views: Sequence[Mapping[str, Any]]) -> str:
    """The accounts, and why one of them is not online."""
    rows = []
    for view in views:
        error = view["registration"]["last_error"]
        why = f"{error['cause']} {error['sip_code'] or ''} {error['detail']}".strip() if error else ""
        rows.append((view["id"], view["aor"], view["state"], view["since"], why))
    return table(("ACCOUNT", "ADDRESS", "STATE", "SINCE", "LAST ERROR"), rows)


def calls(views: Sequence[Mapping[str, Any]]) -> str:
    """The calls, newest first."""
    if not views:
        return "no calls"
    rows = []
    for view in views:
        flags = [name for name in ("local", "remote") if view["hold"][name]]
        marks = (f"held ({'+'.join(flags)})" if flags else "") + (" muted" if view["muted"] else "")
        end = view["end"]
        note_ = f"{end['cause']} by {end['by']}" if end else marks.strip() or view["media"]["state"]
        peer = view["peer"]
        who = peer["display_name"] or peer["number"] or peer["uri"]
        rows.append(
            (view["id"], view["direction"], view["state"], view["account"], who, f"{view['duration_s']:.0f}s", note_)
        )
    return table(("CALL", "DIR", "STATE", "ACCOUNT", "PEER", "TIME", ""), rows)


def status(view: Mapping[str, Any]) -> str:
    """The phone at a glance."""
    lines = view["calls"]
    first = f"phoned {view['version']} on {clean(view['node'])}, up {view['uptime_s']:.0f} s"
    second = f"calls {lines['active']} of {lines['capacity']}" + (", draining" if view["draining"] else "")
    return "\n".join((first, second, accounts(view["accounts"])))


def network(view: Mapping[str, Any]) -> str:
    """Where packets leave, and what changed lately."""
    lines = [f"generation {view['generation']} ({clean(view['source'])})"]
    rows = [
        (route["destination"], route["family"], route["device"], route["gateway"] or "-", route["source"] or "-")
        for route in view["routes"]
        if route["destination"] == "default"
    ]
    lines += [table(("ROUTE", "FAMILY", "DEVICE", "GATEWAY", "SOURCE"), rows)] if rows else ["no default route"]
    lines += [f"{change['at']}  {clean('; '.join(change['reasons']))}" for change in view["changes"]]
    return "\n".join(lines)


def pairs(view: Mapping[str, Any]) -> str:
    """One object, a line for each member that has a value."""
    shown = {name: value for name, value in view.items() if value not in (None, [], {})}
    width = max(map(len, shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {clean(value)}" for name, value in shown.items())


def event(item: Mapping[str, Any]) -> str:
    """One event in one line."""
    data = item["data"]
    parts = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            parts.append(f"{name}={value.get('id', '...')}")
            parts += [f"state={value['state']}"] if "state" in value else []
        elif isinstance(value, list):
            parts.append(f"{name}={len(value)}")
        else:
            parts.append(f"{name}={value}")
    return f"{item['time']}  {item.get('seq', '-')!s:>6}  {item['type']:<24}  {clean(' '.join(parts))}"


def diagnosis(view: Mapping[str, Any]) -> str:
    """What the doctor found: every check, then what is broken and its fix."""
    marks = {True: "ok", False: "FAIL", None: "-"}
    rows = [(marks[check["ok"]], check["name"], whose(check), check["detail"]) for check in view["checks"]]
    broken = [check for check in view["checks"] if check["ok"] is False]
    lines = [table(("", "CHECK", "ACCOUNT", "FOUND"), rows), ""]
    if not broken:
        return "\n".join((*lines, "nothing is broken"))
    lines.append("1 thing is broken:" if len(broken) == 1 else f"{len(broken)} things are broken:")
    for check in broken:
        lines.append(f"  {clean(' '.join(filter(None, (check['name'], whose(check)))))}: {clean(check['detail'])}")
        lines.append(f"    fix: {clean(check['fix'])}")
    return "\n".join(lines)


def whose(check: Mapping[str, Any]) -> str:
    """The account, and whether it is about its backup proxy."""
    return f"{check['account'] or ''}{' backup' if check['proxy'] == 'backup' else ''}"
