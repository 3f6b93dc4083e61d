"""Replay: the reason first, then lanes, playlists and files of the footage."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from central.api.dependencies import Ctx, allow
from central.api.schemas import CaseTimeline, Register, Retrieval, RetrievalRequest
from central.domain.register import User

router = APIRouter(prefix="/api", tags=["replay"])

Retriever = Annotated[User, Depends(allow("retrievals.open"))]
Ms = Annotated[int, Query(ge=0, le=10_000_000_000_000)]


@router.post("/cases/{no}/retrievals", status_code=201)
async def open_retrieval(ctx: Ctx, user: Retriever, no: str, body: RetrievalRequest) -> Retrieval:
    """Register why footage is wanted; opens it for two hours."""
    raise NotImplementedError


@router.get("/retrievals")
async def retrievals(
    ctx: Ctx,
    user: Annotated[User, Depends(allow("register.read"))],
    month: Annotated[str | None, Query(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = None,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Register:
    """The retrieval register, a month (YYYY-MM) or all of it, newest first, 50 a page."""
    raise NotImplementedError


@router.get("/cases/{no}/timeline")
async def case_timeline(
    ctx: Ctx,
    user: Annotated[User, Depends(allow("timeline.read"))],
    no: str,
    *,
    from_ms: Ms,
    to_ms: Ms,
    retrieval: str | None = None,
) -> CaseTimeline:
    """Lanes of the case page; footage lanes only with an open retrieval."""
    raise NotImplementedError


@router.get(
    "/replay/{retrieval}/{stream}/index.m3u8",
    response_class=Response,
    responses={200: {"content": {"application/vnd.apple.mpegurl": {}}}},
)
async def playlist(
    ctx: Ctx, user: Retriever, retrieval: str, stream: str, *, from_ms: Ms, to_ms: Ms
) -> Response:
    """HLS playlist of a stream's footage within the range and the retrieval."""
    raise NotImplementedError


@router.get(
    "/replay/{retrieval}/{stream}/files/{file}.mp4",
    response_class=StreamingResponse,
    responses={200: {"content": {"video/mp4": {}}}, 206: {"content": {"video/mp4": {}}}},
)
async def footage_file(
    ctx: Ctx, user: Retriever, request: Request, retrieval: str, stream: str, file: str
) -> Response:
    """Bytes of a footage file; takes Range."""
    raise NotImplementedError
