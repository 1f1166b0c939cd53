"""A media session that goes on with what another process had agreed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from phoned.errors import DescriptionError
from phoned.media.continuation import Continuation
from phoned.media.engine import MediaEngine
from phoned.media.events import Flowing
from phoned.media.options import SessionOptions
from phoned.media.sdp import read
from tests.support.media import LOOPBACK, Party

OPTIONS = SessionOptions(ice=LOOPBACK)


@pytest.fixture
async def engine() -> AsyncIterator[MediaEngine]:
    made = MediaEngine()
    await made.start()
    yield made
    await made.stop()


async def agreed(engine: MediaEngine, caller: SessionOptions = OPTIONS) -> tuple[Party, Party]:
    """Two parties with sound between them."""
    one, other = Party(engine, "one", caller), Party(engine, "other", OPTIONS)
    await one.session.accept_answer(await other.session.answer(await one.session.offer()))
    await one.wait(Flowing)
    await other.wait(Flowing)
    return one, other


def continuing(party: Party) -> SessionOptions:
    text = party.session.remember()
    assert text is not None
    return replace(OPTIONS, continues=Continuation(description=text, codec=party.session.view().codec))


async def test_a_successor_is_heard_and_its_description_follows_from_the_old_one(engine: MediaEngine) -> None:
    one, other = await agreed(engine)
    before = one.session.current_offer()
    assert before is not None
    reborn = Party(engine, "reborn", continuing(one))
    await one.session.close()
    offer = await reborn.session.offer(rebuild=True)
    old, new = read(before), read(offer)
    assert (new.origin.session_id, new.origin.version) == (old.origin.session_id, old.origin.version + 1)
    assert (new.audio.mid, new.bundle, new.audio.protocol) == (old.audio.mid, old.bundle, old.audio.protocol)
    assert new.audio.fingerprints != old.audio.fingerprints
    assert new.audio.tls_id != old.audio.tls_id
    assert new.audio.ufrag != old.audio.ufrag
    await reborn.session.accept_answer(await other.session.answer(offer))
    await reborn.wait(Flowing)
    await other.wait(Flowing, 2)


async def test_numbers_and_m_lines_of_the_offerer_are_kept_by_the_answerers_successor(engine: MediaEngine) -> None:
    one, _ = await agreed(engine)
    mine = await one.session.offer(ice_restart=True)
    theirs = mine.replace(b"111", b"120").replace(b"a=mid:0", b"a=mid:sound").replace(b"BUNDLE 0", b"BUNDLE sound")
    fresh = Party(engine, "fresh", OPTIONS)
    first = read(await fresh.session.answer(theirs))
    reborn = Party(engine, "reborn", continuing(fresh))
    offer = read(await reborn.session.offer(rebuild=True))
    assert offer.origin.version == first.origin.version + 1
    assert (offer.audio.mid, offer.bundle) == ("sound", ("sound",))
    assert next(codec.number for codec in offer.audio.codecs if codec.name == "opus") == 120
    one.session.rollback()


async def test_an_offer_without_an_answer_has_used_up_its_version(engine: MediaEngine) -> None:
    one, _ = await agreed(engine)
    unanswered = read(await one.session.offer())
    reborn = Party(engine, "reborn", continuing(one))
    assert read(await reborn.session.offer(rebuild=True)).origin.version == unanswered.origin.version + 1
    one.session.rollback()


async def test_nothing_secret_and_no_address_is_remembered(engine: MediaEngine) -> None:
    fresh = Party(engine, "fresh", OPTIONS)
    assert fresh.session.remember() is None
    one, _ = await agreed(engine)
    text = one.session.remember() or ""
    for word in ("ice-", "candidate", "fingerprint", "tls-id", "setup", "ssrc", "crypto"):
        assert word not in text
    assert Party(engine, "again", continuing(one)).session.remember() == text


async def test_the_codec_in_use_comes_first_and_one_that_fell_out_stays_out(engine: MediaEngine) -> None:
    one, _ = await agreed(engine, replace(OPTIONS, codecs=("pcma", "pcmu")))
    options = continuing(one)
    assert options.continues is not None
    assert options.continues.codecs(("opus", "g722", "PCMU", "PCMA")) == ("PCMA", "PCMU")
    assert options.continues.codecs(("opus",)) == ("opus",)
    offer = read(await Party(engine, "reborn", options).session.offer(rebuild=True))
    assert [codec.name for codec in offer.audio.codecs] == ["pcma", "pcmu"]


async def test_damage_is_refused_before_there_is_a_session(engine: MediaEngine) -> None:
    with pytest.raises(DescriptionError):
        Party(engine, "reborn", replace(OPTIONS, continues=Continuation(description="v=0\r\n")))
    assert engine.sessions == 0
