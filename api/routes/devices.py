"""/v1/devices: microphone, speaker and bell of the machine, and which call has them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers
from api.access import require_scope
from api.deps import Api, Caller, Route, answer
from api.description import problems
from api.schemas import ChangeDevices

router = APIRouter(prefix="/v1/devices", route_class=Route, tags=["devices"])


@router.get("", response_model=answers.Devices)
async def devices(api: Api) -> Response:
    """The machine's sound devices, what the phone uses of them with level and delay, and which call has them. Without
    any in `[audio]` the list is empty: a headless phone looks for none until one is named."""
    return answer(api.phone.devices())


@router.patch(
    "", response_model=answers.Devices, responses=problems("unknown_device", "not_found", "sound_unavailable")
)
async def change(api: Api, caller: Caller, body: ChangeDevices) -> Response:
    """Another device, volume, gain or mute, at once and over restarts; a call goes on meanwhile. `call` hands
    microphone and speaker to a call until it ends; null gives them to the newest answered one again. Who stands at the
    phone may make it louder; which `device` it uses is for the scope `admin` to say."""
    if body.chooses():
        require_scope(caller, "admin")
    return answer(await api.phone.change_devices(body.value()))


@router.post("/test", response_model=answers.DeviceTest, responses=problems("wrong_state", "sound_unavailable"))
async def test(api: Api) -> Response:
    """Play a tone of a second and listen for it. `heard`: the microphone heard it, with its pitch and level; a headset
    that keeps its sound to itself is well without. 409 while a call has the devices."""
    return answer(await api.phone.test_devices())
