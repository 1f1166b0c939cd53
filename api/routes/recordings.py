"""/v1/recordings and /v1/playbacks."""

from __future__ import annotations

import asyncio
import stat
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from api import answers
from api.deps import Api, Route, answer, answer_page
from api.description import problems
from phoned.errors import NotFound

router = APIRouter(prefix="/v1", route_class=Route, tags=["recordings"])

RECORDING_ID = "^rec_[0-9a-f]{32}$"
_TYPES = {"wav": "audio/wav", "opus": "audio/ogg"}


@router.get("/recordings", response_model=answers.Page[answers.Recording])
async def recordings(
    api: Api,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(pattern=RECORDING_ID)] = None,
) -> Response:
    """All recordings that are kept, newest first; those of calls that ended long ago, too."""
    found = [view for view in api.phone.recordings() if cursor is None or view.id < cursor]
    return await answer_page(found[:limit], found[limit - 1].id if len(found) > limit else None)


@router.get("/recordings/{recording}", response_model=answers.Recording, responses=problems("not_found"))
async def recording(api: Api, recording: str) -> Response:
    """One recording."""
    return answer(api.phone.recording(recording))


@router.get("/recordings/{recording}/file", response_class=FileResponse, responses=problems("not_found", "wrong_state"))
async def file(api: Api, recording: str) -> Response:
    """The sound of a finished recording."""
    view = api.phone.recording(recording)
    path = api.phone.recording_path(recording)
    try:
        status = await asyncio.to_thread(path.lstat)
    except OSError:
        raise NotFound("the file of this recording is gone") from None
    if not stat.S_ISREG(status.st_mode):
        raise NotFound("the file of this recording is no file")
    name = f"{recording}.{view.format}"
    return FileResponse(path, media_type=_TYPES[view.format], filename=name, stat_result=status)


@router.post(
    "/recordings/{recording}/pause", response_model=answers.Recording, responses=problems("not_found", "wrong_state")
)
async def pause(api: Api, recording: str) -> Response:
    """Leave out what follows."""
    return answer(await api.phone.control_recording(recording, "pause"))


@router.post(
    "/recordings/{recording}/resume", response_model=answers.Recording, responses=problems("not_found", "wrong_state")
)
async def resume(api: Api, recording: str) -> Response:
    """Go on recording."""
    return answer(await api.phone.control_recording(recording, "resume"))


@router.post("/recordings/{recording}/stop", response_model=answers.Recording, responses=problems("not_found"))
async def stop(api: Api, recording: str) -> Response:
    """Finish the file."""
    return answer(await api.phone.control_recording(recording, "stop"))


@router.delete("/recordings/{recording}", status_code=204, responses=problems("not_found"))
async def delete(api: Api, recording: str) -> Response:
    """Remove the recording and its file."""
    await api.phone.delete_recording(recording)
    return Response(status_code=204)


@router.get(
    "/playbacks/{playback}", response_model=answers.Playback, tags=["playbacks"], responses=problems("not_found")
)
async def playback(api: Api, playback: str) -> Response:
    """One playback."""
    return answer(api.phone.playback(playback))


@router.post(
    "/playbacks/{playback}/pause",
    response_model=answers.Playback,
    tags=["playbacks"],
    responses=problems("not_found", "wrong_state"),
)
async def pause_playback(api: Api, playback: str) -> Response:
    """Stop where it is."""
    return answer(await api.phone.control_playback(playback, "pause"))


@router.post(
    "/playbacks/{playback}/resume",
    response_model=answers.Playback,
    tags=["playbacks"],
    responses=problems("not_found", "wrong_state"),
)
async def resume_playback(api: Api, playback: str) -> Response:
    """Go on from there."""
    return answer(await api.phone.control_playback(playback, "resume"))


@router.delete("/playbacks/{playback}", status_code=204, tags=["playbacks"], responses=problems("not_found"))
async def stop_playback(api: Api, playback: str) -> Response:
    """End it."""
    await api.phone.control_playback(playback, "stop")
    return Response(status_code=204)
