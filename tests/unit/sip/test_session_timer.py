"""RFC 4028, number by number."""

from __future__ import annotations

import pytest

from phoned.sip.account import Refresher, SessionTimerParameters
from phoned.sip.fields import SessionExpires
from phoned.sip.session_timer import LONGEST_S, SessionTimer

TIMER = ("Require", "timer")


def _timer(interval: int = 1800, *, min_se: int = 90, refresher: Refresher = "auto") -> SessionTimer:
    return SessionTimer(SessionTimerParameters(session_expires_s=interval, min_se_s=min_se, refresher=refresher))


def test_request_asks_for_the_interval_and_the_role() -> None:
    assert _timer().request_headers() == [("Session-Expires", "1800")]
    assert _timer(refresher="local").request_headers() == [("Session-Expires", "1800;refresher=uac")]
    assert _timer(refresher="remote").request_headers() == [("Session-Expires", "1800;refresher=uas")]
    assert _timer(0).request_headers() == []
    assert _timer(100, min_se=300).request_headers() == [("Session-Expires", "300"), ("Min-SE", "300")]


def test_refresh_keeps_interval_and_roles() -> None:
    timer = _timer()
    timer.accepted_by_peer(SessionExpires(seconds=200, refresher="uas"), 0.0)
    assert timer.request_headers() == [("Session-Expires", "200;refresher=uas")]
    timer.accepted_by_peer(SessionExpires(seconds=200, refresher="uac"), 0.0)
    assert timer.request_headers() == [("Session-Expires", "200;refresher=uac")]


def test_the_refresher_refreshes_at_half_and_has_until_the_end() -> None:
    timer = _timer()
    timer.accepted_by_peer(SessionExpires(seconds=180, refresher="uac"), 1000.0)
    assert (timer.refresh_at, timer.expires_at, timer.next()) == (1090.0, 1180.0, 1090.0)
    timer.refreshing()
    assert timer.next() == 1180.0
    timer.retry_refresh(1100.0, 10.0)
    assert timer.refresh_at == 1110.0


@pytest.mark.parametrize(("interval", "early"), [(90, 30), (96, 32), (1800, 32)])
def test_the_other_side_gives_up_a_little_early(interval: int, early: float) -> None:
    timer = _timer()
    timer.accepted_by_peer(SessionExpires(seconds=interval, refresher="uas"), 0.0)
    assert timer.refresh_at is None
    assert timer.expires_at == interval - early
    timer.retry_refresh(0.0, 10.0)
    assert timer.refresh_at is None


def test_2xx_without_session_expires_ends_the_timer() -> None:
    timer = _timer()
    timer.accepted_by_peer(SessionExpires(seconds=90), 0.0)
    assert timer.local_refresher
    timer.accepted_by_peer(None, 0.0)
    assert (timer.interval_s, timer.next()) == (0, None)


def test_422_raises_the_interval_but_never_in_a_circle() -> None:
    timer = _timer(90)
    assert timer.too_small(120)
    assert timer.request_headers() == [("Session-Expires", "120"), ("Min-SE", "120")]
    assert not timer.too_small(120)
    assert not timer.too_small(None)
    assert not timer.too_small(2**31)


def test_uas_refuses_only_what_is_too_small_and_will_be_understood() -> None:
    timer = _timer(min_se=120)
    assert timer.refuses(SessionExpires(seconds=100), peer_supports=True) == 120
    assert timer.refuses(SessionExpires(seconds=120), peer_supports=True) is None
    assert timer.refuses(SessionExpires(seconds=100), peer_supports=False) is None
    assert timer.refuses(None, peer_supports=True) is None


@pytest.mark.parametrize(
    ("asked", "min_se", "supports", "refresher", "headers"),
    [
        (None, None, True, "auto", [("Session-Expires", "1800;refresher=uac"), TIMER]),
        (None, None, True, "local", [("Session-Expires", "1800;refresher=uas")]),
        (None, None, False, "auto", [("Session-Expires", "1800;refresher=uas")]),
        (SessionExpires(seconds=600), None, True, "auto", [("Session-Expires", "600;refresher=uac"), TIMER]),
        (SessionExpires(seconds=600, refresher="uas"), None, True, "auto", [("Session-Expires", "600;refresher=uas")]),
        (SessionExpires(seconds=9000), None, False, "auto", [("Session-Expires", "1800;refresher=uas")]),
        (SessionExpires(seconds=9000), 3600, False, "auto", [("Session-Expires", "3600;refresher=uas")]),
    ],
)  # fmt: skip
def test_uas_answers(
    asked: SessionExpires | None,
    min_se: int | None,
    supports: bool,
    refresher: Refresher,
    headers: list[tuple[str, str]],
) -> None:
    timer = _timer(refresher=refresher)
    assert timer.accept_peer(asked, min_se, peer_supports=supports, now=0.0) == headers
    assert timer.next() is not None


def test_uas_that_wants_no_timer_gives_the_one_that_is_asked_for() -> None:
    timer = _timer(0)
    assert timer.accept_peer(None, None, peer_supports=True, now=0.0) == []
    assert timer.next() is None
    assert timer.accept_peer(SessionExpires(seconds=600), None, peer_supports=False, now=0.0) == [
        ("Session-Expires", "600;refresher=uas")
    ]


def test_absurd_intervals_are_bounded() -> None:
    timer = _timer()
    timer.accepted_by_peer(SessionExpires(seconds=1, refresher="uas"), 0.0)
    assert timer.interval_s == 90
    timer.accepted_by_peer(SessionExpires(seconds=2**32 - 1, refresher="uas"), 0.0)
    assert timer.interval_s == LONGEST_S


def test_restored_timer_counts_from_now() -> None:
    timer = _timer()
    timer.restart(0, local=True, now=5.0)
    assert timer.next() is None
    timer.restart(100, local=True, now=5.0)
    assert timer.refresh_at == 55.0
    timer.postpone(200.0, 32.0)
    assert timer.expires_at == 232.0
