"""Replay: the reason first, then lanes, playlists and files of the footage."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from central.api import present
from central.api.dependencies import Ctx, allow
from central.api.schemas import CaseTimeline, Register, Retrieval, RetrievalRequest
from central.domain.register import User
from central.handlers import replay
from central.ports import OpenFile
from contracts.timestamps import NS_PER_MS

router = APIRouter(prefix="/api", tags=["replay"])

Retriever = Annotated[User, Depends(allow("retrievals.open"))]
Ms = Annotated[int, Query(ge=0, le=9_000_000_000_000)]
Key = Annotated[str, Path(max_length=140)]


class PassedThrough(Response):
    """A gateway's answer passed on as it arrives; ends when either side goes away."""

    def __init__(self, opening: OpenFile) -> None:
        super().__init__()
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the file at the gateway, then stream it."""
        async with self._opening as part:
            response = StreamingResponse(part.body, part.status, dict(part.headers))
            await response(scope, receive, send)


@router.post("/cases/{no}/retrievals", status_code=201)
async def open_retrieval(ctx: Ctx, user: Retriever, no: Key, body: RetrievalRequest) -> Retrieval:
    """Register why footage is wanted; opens it for two hours."""
    found = await replay.open_retrieval(
        ctx, user, no, step=body.step, reason=body.reason, basis=body.basis
    )
    return present.retrieval(found)


@router.get("/retrievals")
async def retrievals(
    ctx: Ctx,
    user: Annotated[User, Depends(allow("register.read"))],
    month: Annotated[str | None, Query(pattern=r"^[1-9]\d{3}-(0[1-9]|1[0-2])$")] = None,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Register:
    """The retrieval register, a month (YYYY-MM) or all of it, newest first, 50 a page."""
    total, lines = await replay.register_page(ctx, user, month=month, page=page)
    return Register(total=total, items=[present.retrieval(line) for line in lines])


@router.get("/cases/{no}/timeline")
async def case_timeline(
    ctx: Ctx,
    user: Annotated[User, Depends(allow("timeline.read"))],
    no: Key,
    *,
    from_ms: Ms,
    to_ms: Ms,
    retrieval: Annotated[str | None, Query(max_length=64)] = None,
) -> CaseTimeline:
    """Lanes of the case page; footage lanes only with an open retrieval."""
    view = await replay.timeline(
        ctx, user, no, span=(from_ms * NS_PER_MS, to_ms * NS_PER_MS), retrieval_id=retrieval
    )
    return present.timeline(view)


@router.get(
    "/replay/{retrieval}/{stream}/index.m3u8",
    response_class=Response,
    responses={200: {"content": {"application/vnd.apple.mpegurl": {}}}},
)
async def playlist(
    ctx: Ctx, user: Retriever, retrieval: Key, stream: Key, *, from_ms: Ms, to_ms: Ms
) -> Response:
    """HLS playlist of a stream's footage within the range and the retrieval."""
    text = await replay.playlist(
        ctx, user, retrieval, stream, span=(from_ms * NS_PER_MS, to_ms * NS_PER_MS)
    )
    return Response(text, media_type="application/vnd.apple.mpegurl")


@router.get(
    "/replay/{retrieval}/{stream}/files/{file}.mp4",
    response_class=StreamingResponse,
    responses={200: {"content": {"video/mp4": {}}}, 206: {"content": {"video/mp4": {}}}},
)
async def footage_file(
    ctx: Ctx, user: Retriever, request: Request, *, retrieval: Key, stream: Key, file: Key
) -> Response:
    """Bytes of a footage file; takes Range."""
    opening = await replay.footage_file(ctx, user, retrieval, stream, file, request.headers)
    return PassedThrough(opening)
