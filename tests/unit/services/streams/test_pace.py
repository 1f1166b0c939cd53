from __future__ import annotations

from phoned.services.streams.pace import Bucket


def test_a_burst_passes_and_what_follows_waits() -> None:
    bucket = Bucket(rate=10, burst=20)
    assert bucket.take(20, 0.0) == 0
    assert bucket.take(5, 0.0) == 0.5
    assert bucket.take(5, 1.0) == 0
    assert bucket.take(0, 100.0) == 0


def test_what_has_no_room_is_not_taken() -> None:
    bucket = Bucket(rate=1, burst=2)
    assert [bucket.try_take(1, 0.0) for _ in range(3)] == [True, True, False]
    assert bucket.try_take(1, 1.0)
    assert [bucket.try_take(1, 100.0) for _ in range(3)] == [True, True, False]
