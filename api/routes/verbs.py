"""What can be done with a call. Each answers with the call once it is done; `hangup` at once."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers, schemas
from api.bots import permit_sound
from api.deps import Api, Caller, Route, answer
from api.description import problems

router = APIRouter(prefix="/v1/calls/{call}", route_class=Route, tags=["calls"])

_ONE = ("not_found", "gone", "wrong_state")
_FAR_END = (*_ONE, "refused", "unavailable", "deadline_exceeded")
CALL = problems(*_ONE)
FAR_END = problems(*_FAR_END)
SOUND = problems(
    *_ONE, "unavailable", "at_capacity", "address_not_allowed", "fetch_failed", "deadline_exceeded", "disk_full"
)
RECORDING = problems(*_ONE, "unavailable", "at_capacity", "disk_full")


@router.post("/answer", response_model=answers.Call, responses=FAR_END)
async def answer_call(api: Api, call: str) -> Response:
    """Answer an incoming call."""
    return answer(await api.phone.answer(call))


@router.post("/reject", response_model=answers.Call, responses=CALL)
async def reject(api: Api, call: str, body: schemas.Reject | None = None) -> Response:
    """Refuse an incoming call, as busy unless another status is given."""
    body = body or schemas.Reject()
    return answer(await api.phone.reject(call, body.code, body.reason))


@router.post("/hangup", response_model=answers.Call, responses=problems("not_found"))
async def hangup(api: Api, call: str, body: schemas.Hangup | None = None) -> Response:
    """End the call. Repeated, the ended call."""
    return answer(await api.phone.hangup(call, body.reason if body else None))


@router.delete("", response_model=answers.Call, responses=problems("not_found"))
async def delete(api: Api, call: str) -> Response:
    """The same as hangup."""
    return answer(await api.phone.hangup(call))


@router.post("/hold", response_model=answers.Call, responses=FAR_END)
async def hold(api: Api, call: str) -> Response:
    """Put the far end on hold; returns after it agreed."""
    return answer(await api.phone.hold(call))


@router.post("/unhold", response_model=answers.Call, responses=FAR_END)
@router.delete("/hold", response_model=answers.Call, operation_id="delete_hold", responses=FAR_END)
async def unhold(api: Api, call: str) -> Response:
    """Talk again."""
    return answer(await api.phone.unhold(call))


@router.post("/mute", response_model=answers.Call, responses=CALL)
async def mute(api: Api, call: str) -> Response:
    """Send silence."""
    return answer(await api.phone.mute(call, True))


@router.post("/unmute", response_model=answers.Call, responses=CALL)
@router.delete("/mute", response_model=answers.Call, operation_id="delete_mute", responses=CALL)
async def unmute(api: Api, call: str) -> Response:
    """Send sound again."""
    return answer(await api.phone.mute(call, False))


@router.post("/dtmf", response_model=answers.Call, responses=problems(*_ONE, "at_capacity"))
async def dtmf(api: Api, call: str, body: schemas.Dtmf) -> Response:
    """Send digits; returns once they are queued."""
    return answer(await api.phone.dtmf(call, body.value()))


@router.post("/collect", response_model=answers.Collected, responses=SOUND)
async def collect(api: Api, caller: Caller, call: str, body: schemas.Collect | None = None) -> Response:
    """Play a prompt, if any, and wait for what the far end keys. A call has one such question at a time; the event
    `call.digits` tells the answer to everybody."""
    body = body or schemas.Collect()
    permit_sound(caller, body.play)
    return answer(await api.phone.collect(call, body.value()))


@router.post("/tag", response_model=answers.Call, responses=CALL)
async def tag(api: Api, call: str, body: schemas.Tag) -> Response:
    """Merge tags into the call's."""
    return answer(await api.phone.tag(call, body.tags))


@router.post(
    "/transfer", response_model=answers.Call, responses=problems(*_FAR_END, "destination_denied", "emergency_disabled")
)
async def transfer(api: Api, call: str, body: schemas.Transfer) -> Response:
    """Hand the far end over: to somebody it shall call (`to`), or to the far end of another call of yours (`replaces`).
    Returns once it has taken that on; `call.transfer_completed` or `call.transfer_failed` tells the outcome. The call
    ends as `transferred`, or stays as it is."""
    return answer(await api.phone.transfer(call, to=body.to, replaces=body.replaces))


@router.post("/reinvite", response_model=answers.Call, responses=FAR_END)
async def reinvite(api: Api, call: str, body: schemas.Reinvite | None = None) -> Response:
    """Recover by hand: the same as what is done when the network changes."""
    body = body or schemas.Reinvite()
    return answer(await api.phone.reinvite(call, ice_restart=body.ice_restart))


@router.post("/play", response_model=answers.Playback, status_code=201, responses=SOUND)
async def play(api: Api, caller: Caller, call: str, body: schemas.Play) -> Response:
    """Play files, a tone or what a URL gives into the call. Returns once it is there and can be played."""
    permit_sound(caller, body)
    playback = await api.phone.play(call, body.value())
    return answer(playback, 201, Location=f"/v1/playbacks/{playback.id}")


@router.post("/record", response_model=answers.Recording, status_code=201, responses=RECORDING)
async def record(api: Api, call: str, body: schemas.Record | None = None) -> Response:
    """Record the call."""
    recording = await api.phone.record(call, (body or schemas.Record()).value())
    return answer(recording, 201, Location=f"/v1/recordings/{recording.id}")
