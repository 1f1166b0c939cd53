"""The jitter buffer's single decisions; `test_jitter_simulation` has the whole behaviour over time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoned.media.jitter import MAX_PACKETS, Action, Conceal, ConcealWithFec, Decode, JitterBuffer, Silence
from phoned.media.rtp import Packet

TICK = 160


def packet(n: int, *, ssrc: int = 1, timestamp: int | None = None, payload: bytes | None = None) -> Packet:
    stamp = n * TICK if timestamp is None else timestamp
    return Packet(0, n & 0xFFFF, stamp & 0xFFFFFFFF, ssrc, b"pkt%d" % n if payload is None else payload)


class Bench:
    """Arrivals on the grid of 20 ms, pops 10 ms after."""

    def __init__(self) -> None:
        self.jitter = JitterBuffer(8000)
        self.tick = 0

    def arrive(self, *packets: Packet, late_s: float = 0.0) -> None:
        for each in packets:
            self.jitter.put(each, self.tick * 0.02 + late_s, TICK)

    def pop(self, *, quiet: bool = False) -> tuple[Action, ...]:
        actions = self.jitter.pop(self.tick * 0.02 + 0.01, quiet=quiet)
        self.tick += 1
        return actions

    def run(self, numbers: range) -> list[Action]:
        heard: list[Action] = []
        for n in numbers:
            self.arrive(packet(n))
            heard += self.pop()
        return heard


def played(actions: list[Action]) -> list[bytes]:
    return [action.payload for action in actions if isinstance(action, Decode)]


def test_nothing_is_played_before_anything_came() -> None:
    bench = Bench()
    assert bench.pop() == (Silence(),)
    assert bench.jitter.underruns == 0


def test_the_first_packets_may_come_in_the_wrong_order() -> None:
    bench = Bench()
    bench.arrive(packet(11), packet(10))
    assert bench.pop() == (Decode(b"pkt10", 0),)
    bench.arrive(packet(12))
    assert bench.pop() == (Decode(b"pkt11", 0),)


def test_a_duplicate_is_counted_and_not_heard_twice() -> None:
    bench = Bench()
    bench.arrive(packet(0), packet(0))
    assert played(bench.run(range(1, 6))) == [b"pkt0", b"pkt1", b"pkt2", b"pkt3"]
    assert bench.jitter.duplicates == 1


def test_a_packet_after_its_turn_is_late() -> None:
    bench = Bench()
    bench.run(range(10))
    bench.arrive(packet(2))
    assert bench.jitter.late == 1


def test_a_new_ssrc_takes_over_with_its_second_packet_and_loses_none() -> None:
    bench = Bench()
    bench.run(range(10))
    for n in range(500, 510):
        bench.arrive(packet(n, ssrc=2, timestamp=n * TICK + 77_000_000))
        bench.pop()
    assert bench.jitter.resets == 1
    bench.arrive(packet(510, ssrc=2, timestamp=510 * TICK + 77_000_000))
    (action,) = bench.pop()
    assert isinstance(action, Decode)
    assert bench.jitter.lost == 0


def test_a_single_stray_packet_of_another_stream_changes_nothing() -> None:
    bench = Bench()
    bench.run(range(10))
    bench.arrive(packet(500, ssrc=2))
    bench.arrive(packet(700, ssrc=3))
    assert len(played(bench.run(range(10, 20)))) == 10
    assert bench.jitter.resets == 0


def test_a_restarted_sequence_is_followed() -> None:
    bench = Bench()
    bench.run(range(10))
    heard = bench.run(range(20_000, 20_010))
    assert bench.jitter.resets == 1
    assert played(heard)[-1] == b"pkt20008"


def test_digits_in_the_sequence_space_are_no_loss() -> None:
    bench = Bench()
    heard = bench.run(range(10))
    for n in range(10, 17):
        bench.jitter.skip(packet(n, timestamp=10 * TICK), bench.tick * 0.02)
        heard += bench.pop()
    heard += bench.run(range(17, 30))
    assert bench.jitter.lost == 0
    assert bench.jitter.underruns == 0
    assert not any(isinstance(action, Conceal | ConcealWithFec) for action in heard)
    assert len(played(heard)) == 22


def test_a_lost_digit_packet_is_lost_but_not_concealed() -> None:
    bench = Bench()
    heard = bench.run(range(10))
    for n in (10, 12, 13):
        bench.jitter.skip(packet(n, timestamp=10 * TICK), bench.tick * 0.02)
    heard += bench.pop()
    heard += bench.run(range(14, 20))
    assert bench.jitter.lost == 1
    assert sum(isinstance(action, Conceal | ConcealWithFec) for action in heard) == 0


def test_dtx_is_silence_and_the_talk_spurt_after_it_keeps_its_delay() -> None:
    bench = Bench()
    bench.arrive(packet(0))
    heard = list(bench.pop())
    bench.arrive(packet(1, payload=b"\x08"))
    heard += bench.pop()
    for _ in range(20):
        heard += bench.pop()
    bench.arrive(packet(2, timestamp=22 * TICK))
    heard += bench.pop()
    bench.arrive(packet(3, timestamp=23 * TICK))
    heard += bench.pop()
    assert bench.jitter.lost == bench.jitter.underruns == 0
    assert isinstance(heard[-1], Decode)
    assert bench.jitter.delay_s == pytest.approx(0.03)
    assert not any(isinstance(action, Conceal) for action in heard)


def test_a_pause_in_the_timestamps_alone_is_silence_of_at_most_the_target() -> None:
    bench = Bench()
    bench.run(range(10))
    for n in range(10, 20):
        bench.arrive(packet(n, timestamp=(n + 3) * TICK))
        bench.pop()
    assert bench.jitter.lost == 0
    assert bench.jitter.delay_s < 0.11


def test_a_jump_of_the_timestamps_is_played_through() -> None:
    bench = Bench()
    bench.run(range(30))
    heard: list[Action] = []
    for n in range(30, 60):
        bench.arrive(packet(n, timestamp=n * TICK + 48_000))
        heard += bench.pop()
    assert len(played(heard)) >= 29
    assert bench.jitter.delay_s < 0.06


def test_timestamps_running_backwards_are_played_through() -> None:
    bench = Bench()
    bench.run(range(30))
    heard: list[Action] = []
    for n in range(30, 60):
        bench.arrive(packet(n, timestamp=(n - 25) * TICK))
        heard += bench.pop()
    assert len(played(heard)) >= 28


def test_timestamps_wrap_without_a_sound() -> None:
    bench = Bench()
    start = 0x100000000 - 20 * TICK
    heard: list[Action] = []
    for n in range(60):
        bench.arrive(packet(n, timestamp=start + n * TICK))
        heard += bench.pop()
    assert len(played(heard)) == 59
    assert bench.jitter.target_s == pytest.approx(0.04)


def test_concealment_of_an_empty_buffer_ends_in_silence() -> None:
    bench = Bench()
    bench.run(range(10))
    heard = [action for _ in range(30) for action in bench.pop()]
    assert sum(isinstance(action, Conceal) for action in heard) == 10
    assert isinstance(heard[-1], Silence)
    assert bench.jitter.underruns == 1


def test_a_hole_longer_than_the_buffer_is_jumped_over() -> None:
    bench = Bench()
    bench.run(range(10))
    bench.arrive(*(packet(n) for n in range(40, 44)))
    heard = [action for _ in range(5) for action in bench.pop()]
    assert bench.jitter.lost == 30
    assert played(heard)[:2] == [b"pkt9", b"pkt40"]


def test_a_hole_of_two_uses_the_copy_for_the_second() -> None:
    bench = Bench()
    bench.run(range(10))
    bench.arrive(packet(12), packet(13))
    heard = [action for _ in range(5) for action in bench.pop()]
    assert heard[1:4] == [Conceal(), ConcealWithFec(b"pkt12", 0), Decode(b"pkt12", 0)]
    assert bench.jitter.lost == 2


def test_a_flood_is_bounded() -> None:
    bench = Bench()
    bench.arrive(*(packet(n) for n in range(MAX_PACKETS * 3)))
    assert bench.jitter.dropped == MAX_PACKETS * 2
    assert isinstance(bench.pop()[0], Decode | Silence)


def test_a_broken_payload_counts_as_one_tick() -> None:
    jitter = JitterBuffer(8000)
    jitter.put(packet(0), 0.0, 0)
    assert jitter.pop(0.03) == (Decode(b"pkt0", 0),)
    assert jitter.pop(0.05) == (Conceal(),)


def test_too_shallow_a_buffer_is_deepened_in_silence_only() -> None:
    bench = Bench()
    bench.run(range(60))
    bench.jitter.target_s = 0.1
    bench.jitter._min_s = 0.1  # as configured for a worse path
    bench.run(range(60, 120))
    assert bench.jitter.wants_quiet
    assert bench.jitter.inserted == 0
    bench.arrive(packet(120))
    assert bench.pop(quiet=True) == (Silence(),)
    assert bench.jitter.inserted == 1
    assert not bench.jitter.wants_quiet


def test_restart_forgets_the_stream_and_keeps_the_counters() -> None:
    bench = Bench()
    bench.run(range(10))
    bench.arrive(packet(12))
    bench.jitter.pop(1.0)
    bench.jitter.restart(48000)
    assert bench.jitter.pop(2.0) == (Silence(),)
    bench.jitter.put(Packet(111, 5, 960, 1, b"opus"), 3.0, 960)
    assert bench.jitter.pop(3.03) == (Decode(b"opus", 111),)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "skip", "pop", "pop"]),
            st.integers(0, 65535) | st.integers(0, 40),
            st.integers(0, 0xFFFFFFFF) | st.integers(0, 8000),
            st.sampled_from([1, 1, 1, 2]),
            st.sampled_from([0, 1, 20, 80, 160, 480]),
        ),
        max_size=80,
    )
)
def test_any_packets_give_every_tick_its_sound(steps: list[tuple[str, int, int, int, int]]) -> None:
    jitter = JitterBuffer(8000)
    now, ahead = 0.0, 0
    for what, sequence, timestamp, ssrc, duration in steps:
        if what == "put":
            jitter.put(Packet(0, sequence, timestamp, ssrc, duration.to_bytes(4, "big")), now, duration)
        elif what == "skip":
            jitter.skip(Packet(101, sequence, timestamp, ssrc, b""), now)
        else:
            for action in jitter.pop(now, quiet=sequence % 2 == 0):
                ahead += (int.from_bytes(action.payload, "big") or TICK) if isinstance(action, Decode) else TICK
            assert ahead >= TICK, "a tick without sound"
            ahead -= TICK
        now += 0.007
    assert 0 <= jitter.target_s <= 0.2
