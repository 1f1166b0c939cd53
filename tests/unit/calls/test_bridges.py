"""Bridges over calls that come and go."""

from __future__ import annotations

import pytest

from phoned.calls.bridges import KEPT
from phoned.calls.entry import JournalEntry, decode, encode
from phoned.errors import Gone, InvalidValue, NotFound, WrongState
from phoned.ids import made_at, new_id
from phoned.media import events as media
from phoned.sip import events as sip
from tests.support.calls import CallWorld, settle, virtual


async def told(world: CallWorld) -> list[tuple[str, tuple[str, ...]]]:
    """Events of bridges so far: what, and who is in it."""
    await world.bus.flush()
    events = await world.log.after(0, 10_000) or []
    return [(event.type, event.data["bridge"].calls) for event in events if "bridge" in event.data]


@virtual
async def test_two_calls_are_joined_and_the_rest_goes_on_alone() -> None:
    world = CallWorld()
    bridges = world.manager.bridges
    one, two = await world.active(), await world.active()
    view = bridges.create([one, two])
    assert (view.calls, view.state) == ((one.id, two.id), "active")
    assert bridges.view(view.id) == view
    assert world.media[one.id].graph.bridge is not None
    world.ended(two)
    assert not one.ended
    assert world.media[one.id].graph.bridge is None
    ended = bridges.view(view.id)
    assert (ended.calls, ended.state) == ((one.id,), "ended")
    assert bridges.end(view.id) == ended, "once is enough"
    assert await told(world) == [("bridge.created", (one.id, two.id)), ("bridge.ended", (one.id,))]
    with pytest.raises(Gone):
        bridges.change(view.id, [one, await world.active()])


@virtual
async def test_of_three_one_may_go_and_others_come() -> None:
    world = CallWorld()
    bridges = world.manager.bridges
    one, two, three, four = [await world.active() for _ in range(4)]
    view = bridges.create([one, two, three])
    world.ended(one)
    assert bridges.view(view.id).calls == (two.id, three.id)
    assert bridges.change(view.id, [two, four]).calls == (two.id, four.id)
    assert bridges.change(view.id, [four, two]).calls == (two.id, four.id), "nothing new"
    assert three.audio.bridge is None
    assert bridges.end(view.id).calls == (two.id, four.id)
    assert [two.ended, four.ended] == [False, False]
    assert [type_ for type_, _ in await told(world)] == [
        "bridge.created",
        "bridge.changed",
        "bridge.changed",
        "bridge.ended",
    ]
    again = bridges.create([two, four])
    assert [each.id for each in bridges.views()] == [again.id, view.id]


@virtual
async def test_what_cannot_be_joined_is_refused_and_nothing_has_changed() -> None:
    world = CallWorld()
    bridges = world.manager.bridges
    one, two, three = [await world.active() for _ in range(3)]
    for calls in ([one], [one, one], [one] * 17):
        with pytest.raises(InvalidValue):
            bridges.create(calls)
    dialing = await world.place()
    with pytest.raises(WrongState):
        bridges.create([one, dialing])
    view = bridges.create([one, two])
    with pytest.raises(WrongState, match=view.id):
        bridges.create([two, three])
    with pytest.raises(InvalidValue):
        bridges.change(view.id, [one])
    world.ended(three)
    with pytest.raises(Gone):
        bridges.change(view.id, [one, three])
    with pytest.raises(NotFound):
        bridges.view("br_1")
    with pytest.raises(NotFound):
        bridges.end("br_1")
    assert bridges.views() == (view,)
    assert await told(world) == [("bridge.created", (one.id, two.id))]


@virtual
async def test_music_of_a_far_end_that_holds_is_kept_from_others_who_talk() -> None:
    world = CallWorld()
    one, two, three = [await world.active() for _ in range(3)]
    view = world.manager.bridges.create([one, two, three])
    graphs = [world.media[call.id].graph for call in (one, two, three)]

    def heard_by_second() -> bytes | None:
        graphs[0].incoming(b"\1\0" * 320)
        return graphs[1].outgoing()

    world.media[one.id].emit(media.RemoteHold(on=True))
    assert heard_by_second() is None
    world.media[one.id].emit(media.RemoteHold(on=False))
    assert heard_by_second() is not None
    world.media[one.id].emit(media.RemoteHold(on=True))
    world.manager.bridges.change(view.id, [one, two])
    assert heard_by_second() is not None, "one who is alone with it hears what the far end sends"


@virtual
async def test_a_bridge_comes_over_a_restart_with_its_calls() -> None:
    before = CallWorld()
    one, two, three = [await before.active() for _ in range(3)]
    view = before.manager.bridges.create([one, two, three])
    pair = before.manager.bridges.create([four := await before.active(), await before.active()])
    await before.manager.journal.settled()
    before.journal.entries.pop(four.id)
    after = CallWorld(journal=before.journal)
    await after.manager.restore({"a": 300.0})
    bridges = after.manager.bridges
    again = bridges.view(view.id)
    assert (set(again.calls), again.state) == ({one.id, two.id, three.id}, "active")
    assert again.created_at == made_at(view.id)
    assert abs((again.created_at - view.created_at).total_seconds()) < 1
    assert after.media[two.id].graph.bridge is not None
    assert bridges.view(pair.id).state == "ended", "of this only one came back"
    assert [type_ for type_, _ in await told(after)] == ["bridge.changed", "bridge.ended"]
    found = after.manager.find(two.id)
    assert found is not None
    after.ended(found, sip.EndCause.BYE)
    await settle()
    assert len(bridges.view(view.id).calls) == 2


@virtual
async def test_a_call_that_takes_the_place_of_another_does_so_in_its_bridge() -> None:
    world = CallWorld()
    one, two = await world.active(), await world.active()
    view = world.manager.bridges.create([one, two])
    new = world.incoming(replaces=one.session)
    assert new is not None
    assert world.manager.bridges.view(view.id).calls == (one.id, two.id), "not before its answer"
    world.answer(new)
    assert one.ended
    world.tell(sip.Referred(session=two.session or "", token="t", target="sip:x@y", replaces=None, referred_by=None))
    placed = world.manager.find(world.manager.views()[0].id)
    assert placed is not None
    world.answer(placed)
    assert world.manager.bridges.view(view.id).calls == (new.id, placed.id)
    assert (two.ended, two.audio.bridge, world.media[two.id].graph.bridge) == (False, None, None)
    assert [what for what, _ in await told(world)] == ["bridge.created", "bridge.changed", "bridge.changed"]
    world.ended(new)
    assert world.manager.bridges.view(view.id).state == "ended"


@virtual
async def test_a_bridge_that_ended_is_not_made_again() -> None:
    before = CallWorld()
    one, two = await before.active(), await before.active()
    before.manager.bridges.end(before.manager.bridges.create([one, two]).id)
    await before.manager.journal.settled()
    after = CallWorld(journal=before.journal)
    await after.manager.restore({"a": 300.0})
    assert after.manager.bridges.views() == ()


@virtual
async def test_a_damaged_or_old_entry_does_no_harm() -> None:
    world = CallWorld()
    call = await world.active()
    entry = call.memory.entry()
    assert isinstance(entry, JournalEntry)
    text = encode(entry)
    assert decode(text.replace('"bridge":null,', "")).bridge is None
    for broken in ('"bridge":"br_x"', '"bridge":7', f'"bridge":"br_{"f" * 32}"'):
        with pytest.raises(InvalidValue):
            decode(text.replace('"bridge":null', broken))


@virtual
async def test_ended_bridges_are_forgotten_in_the_end() -> None:
    world = CallWorld()
    bridges = world.manager.bridges
    one, two = await world.active(), await world.active()
    first = bridges.create([one, two])
    bridges.end(first.id)
    for _ in range(KEPT):
        bridges.end(bridges.create([one, two]).id)
    assert len(bridges.views()) == KEPT
    with pytest.raises(NotFound):
        bridges.view(first.id)


def test_an_id_tells_when_it_was_made() -> None:
    assert made_at("br_01939f2ac0f27d218f0a1b2c3d4e5f60").isoformat() == "2024-12-07T03:29:59.538000+00:00"
    assert made_at(new_id("br")).tzinfo is not None
    with pytest.raises(ValueError, match="badly formed"):
        made_at("br_7")
