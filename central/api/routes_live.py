"""Live pictures (WHEP through the gateway) and the live channel of changes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, WebSocket

from central.api.dependencies import Ctx, allow
from central.api.schemas import Stream
from central.domain.register import User

router = APIRouter(prefix="/api/live", tags=["live"])

Viewer = Annotated[User, Depends(allow("live.view"))]

_SDP = {"application/sdp": {"schema": {"type": "string"}}}


@router.get("/streams")
async def live_streams(ctx: Ctx, user: Viewer) -> list[Stream]:
    """Streams this user may watch live."""
    raise NotImplementedError


@router.post(
    "/{stream}/whep",
    status_code=201,
    response_class=Response,
    responses={201: {"content": _SDP, "description": "SDP answer; Location ends the session"}},
    openapi_extra={"requestBody": {"required": True, "content": _SDP}},
)
async def whep(ctx: Ctx, request: Request, user: Viewer, stream: str) -> Response:
    """Start watching: SDP offer in, SDP answer out (WHEP)."""
    raise NotImplementedError


@router.delete("/sessions/{session}", status_code=204)
async def stop_watching(ctx: Ctx, user: Viewer, session: str) -> Response:
    """Stop watching."""
    raise NotImplementedError


@router.websocket("/events")
async def live_events(socket: WebSocket) -> None:
    """Changes as they happen, as `Message`."""
    raise NotImplementedError
