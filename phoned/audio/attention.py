"""Who has the handset: one call speaks and listens, and what else sounds. Pure: calls in, a wish out.

Like a telephone with one handset. The newest answered call has it; a call on hold gives it back to the newest of the
others; a call that somebody chose keeps it until it ends, is put on hold or somebody chooses again. The far ends of
the others hear silence (or what plays there) and nobody hears them. A call that a bot has, over a stream or in this
process, has the handset only when it is chosen: what is said in the room is not for bots unasked. While a call has it,
another that comes in beeps; it rings only when nobody talks. A call that is being placed is heard: its early media, or
the ringback tone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from phoned.model import BOT_TAG, CallState, CallView


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the devices are to do now."""

    call: str | None = None
    """Whom the microphone and the speaker belong to."""
    listen: str | None = None
    """Whose early media the speaker plays; only without ``call``."""
    ring: bool = False
    waiting: bool = False
    """Another call comes in while somebody talks."""
    ringback: bool = False
    soon: bool = False
    """A call may need microphone and speaker within moments: open them."""


def wish_of(calls: Iterable[CallView], chosen: str | None = None) -> Wish:
    """What those calls ask for. ``chosen``: the call that somebody wants to have the handset."""
    live = sorted((call for call in calls if call.state is not CallState.ENDED), key=_age)
    talking = [call for call in live if call.state is CallState.ACTIVE and not call.hold.local]
    wanted = next((call.id for call in talking if call.id == chosen), None)
    call = wanted or next((call.id for call in reversed(talking) if not _is_a_bots(call)), None)
    incoming = any(one.direction == "in" and one.state is CallState.RINGING for one in live)
    outgoing = [one for one in live if one.direction == "out" and not _is_a_bots(one)]
    early = [one.id for one in outgoing if one.state is CallState.EARLY_MEDIA]
    rings = any(one.state is CallState.RINGING for one in outgoing)
    return Wish(
        call=call,
        listen=early[-1] if early and call is None else None,
        ring=incoming and call is None,
        waiting=incoming and call is not None,
        ringback=rings and call is None and not early,
        soon=any(not _is_a_bots(one) for one in live),
    )


def _age(call: CallView) -> tuple[float, str]:
    """Calls sort by when they were answered, or made."""
    return (call.answered_at or call.created_at).timestamp(), call.id


def _is_a_bots(call: CallView) -> bool:
    return bool(call.streams or call.tags.get(BOT_TAG))
