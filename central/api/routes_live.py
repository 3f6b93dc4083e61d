"""Live pictures (WHEP through the gateway) and the live channel of changes."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response, WebSocket, WebSocketDisconnect

from central.adapters.changes import ChangeFeed, Inbox
from central.api import present
from central.api.dependencies import Ctx, allow, context_of, user_of
from central.api.schemas import Message, Stream
from central.domain.permissions import Action, may
from central.domain.refusals import Text, invalid
from central.domain.register import User
from central.handlers import access, live
from central.handlers.context import Context
from contracts.timestamps import NS_PER_MS

router = APIRouter(prefix="/api/live", tags=["live"])

Viewer = Annotated[User, Depends(allow("live.view"))]
Key = Annotated[str, Path(max_length=140)]

_SDP = {"application/sdp": {"schema": {"type": "string"}}}
_MOST_SDP_BYTES = 64 * 1024
HEARTBEAT_S = 5.0
_READ_ANEW = 1012
_SIGNED_OUT = 1008

NEEDED_RIGHT: Mapping[str, Action] = {
    "case": "cases.read",
    "device": "devices.read",
    "punch": "timeline.read",
    "presence": "timeline.read",
    "link": "cases.read",
}


@router.get("/streams")
async def live_streams(ctx: Ctx, user: Viewer) -> list[Stream]:
    """Streams this user may watch live."""
    return [present.stream(view) for view in await live.list_streams(ctx, user)]


@router.post(
    "/{stream}/whep",
    status_code=201,
    response_class=Response,
    responses={201: {"content": _SDP, "description": "SDP answer; Location ends the session"}},
    openapi_extra={"requestBody": {"required": True, "content": _SDP}},
)
async def whep(ctx: Ctx, request: Request, user: Viewer, stream: Key) -> Response:
    """Start watching: SDP offer in, SDP answer out (WHEP)."""
    offer = await request.body()
    if not offer.startswith(b"v=0") or len(offer) > _MOST_SDP_BYTES:
        raise invalid(
            Text(zh="请求体应为 SDP offer", en="The body must be an SDP offer"), field="body"
        )
    session, answer = await live.watch(ctx, user, stream, offer)
    location = f"/api/live/sessions/{session}"
    return Response(answer, 201, {"Location": location}, media_type="application/sdp")


@router.delete("/sessions/{session}", status_code=204)
async def stop_watching(ctx: Ctx, user: Viewer, session: Key) -> Response:
    """Stop watching."""
    await live.unwatch(ctx, user, session)
    return Response(status_code=204)


@router.websocket("/events")
async def live_events(socket: WebSocket) -> None:
    """Changes as they happen, as `Message`, to whom may read what changed."""
    user = user_of(socket)
    if user.must_change_password or not may(user.role, "live.follow"):
        await socket.close(_SIGNED_OUT)
        return
    feed: ChangeFeed = socket.app.state.changes
    await socket.accept()
    with feed.subscribed() as inbox:
        channel = _Channel(socket, context_of(socket), user)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(channel.send_all(inbox), name="live-send")
                group.create_task(channel.drain(), name="live-receive")
        except* WebSocketDisconnect:
            pass  # the page has left, or has to read anew


class _Channel:
    """One page's connection; its messages are numbered without holes."""

    def __init__(self, socket: WebSocket, ctx: Context, user: User) -> None:
        self._socket = socket
        self._ctx = ctx
        self._user = user
        self._seq = 0

    async def send_all(self, inbox: Inbox) -> None:
        """Send hello, then changes and heartbeats, until the page leaves or must read anew."""
        await self._send("hello", {"user": self._user.username})
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    change = await inbox.get()
            except TimeoutError:
                await self._heartbeat()
                continue
            if change is None:
                await self._leave(_READ_ANEW)
            elif self._may_see(change.kind, change.site):
                await self._send(change.kind, dict(change.content))

    async def drain(self) -> None:
        """Read, only to notice that the page has left; what it says is ignored."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))

    async def _heartbeat(self) -> None:
        """A sign of life; ends the channel of a session that has ended meanwhile."""
        token = self._socket.cookies.get("mingjing_session", "")
        if await access.authenticate(self._ctx, token, touch=False) is None:
            await self._leave(_SIGNED_OUT)
        await self._send("heartbeat", {})

    def _may_see(self, kind: str, site: str) -> bool:
        right = NEEDED_RIGHT.get(kind)
        return right is not None and site == self._user.site and may(self._user.role, right)

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        message = Message.model_validate(
            {
                "seq": self._seq,
                "kind": kind,
                "at_ms": self._ctx.clock.now() // NS_PER_MS,
                "data": content,
            }
        )
        self._seq += 1
        await self._socket.send_text(message.model_dump_json())

    async def _leave(self, code: int) -> None:
        await self._socket.close(code)
        raise WebSocketDisconnect(code)
