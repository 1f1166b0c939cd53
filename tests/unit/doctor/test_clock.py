"""The clock, judged by what servers said about the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from phoned.doctor.chain import Chain
from phoned.doctor.clock import Evidence
from phoned.model import CheckView

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def judged(*ahead_s: float, valid: bool = False, early: bool = False) -> CheckView:
    evidence = Evidence(clock=lambda: NOW)
    for index, seconds in enumerate(ahead_s):
        evidence.hear(f"s{index}", format_datetime(NOW - timedelta(seconds=seconds), usegmt=True))
    if valid:
        evidence.valid.append("the certificate of s is valid until 2027")
    if early:
        evidence.too_early.append("the certificate of s is not valid yet")
    chain = Chain("clock")
    evidence.judge(chain)
    return chain.checks[0]


@pytest.mark.parametrize(
    ("ahead_s", "ok", "said"),
    [
        ((0.0,), True, "as that of s0"),
        ((30.0,), True, "30 s ahead of s0"),
        ((-250.0,), True, "4 min behind s0"),
        ((-400.0,), False, "7 min behind s0"),
        ((86400.0 * 400,), False, "9600 h ahead of s0"),
        ((7200.0, 4.0), True, "4 s ahead of s1"),  # it is the other server that is wrong
    ],
)
def test_it_is_compared_with_the_servers(ahead_s: tuple[float, ...], ok: bool, said: str) -> None:
    check = judged(*ahead_s)
    assert check.ok is ok
    assert said in check.detail
    assert ("timedatectl" in (check.fix or "")) is not ok


def test_without_a_date_the_certificates_must_do() -> None:
    assert judged().ok is None
    assert judged(valid=True).ok is True
    assert "no server tells the time" in judged(valid=True).detail
    assert judged(0.0, early=True).ok is False


@pytest.mark.parametrize("nonsense", [None, "", "yesterday", "Sat, 99 Nov 2026 12:00:00 GMT"])
def test_nonsense_is_no_date(nonsense: str | None) -> None:
    evidence = Evidence(clock=lambda: NOW)
    evidence.hear("s", nonsense)
    assert evidence.told == []


def test_a_date_without_a_zone_is_universal_time() -> None:
    evidence = Evidence(clock=lambda: NOW)
    evidence.hear("s", "Sat, 21 Nov 2026 12:00:00 -0000")
    assert [told.ahead_s for told in evidence.told] == [0.0]
