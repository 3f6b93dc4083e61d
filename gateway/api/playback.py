"""Footage over HTTP: timelines, HLS playlists and byte ranges of files.

Only bearers of a replay grant of central are served, and only inside its interval, rounded to the
groups of pictures that touch it (nothing less can be decoded). Files are read off the event loop.
"""

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response, status
from fastapi.responses import StreamingResponse

from contracts.errors import Unavailable
from contracts.timestamps import WallTime
from contracts.tokens import Grant
from contracts.wire.footage import Timeline
from gateway.api.auth import GrantChecker, require_stream
from gateway.core.hls import IndexedFile, entitled_range, playlist, segments
from gateway.ports import FootagePlayback

_PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_LONGEST_PLAYLIST_NS = 24 * 3600 * 1_000_000_000
_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_NO_STORE = {"Cache-Control": "private, no-store"}

Nanoseconds = Annotated[int, Query(ge=0, lt=1 << 63)]
FileId = Annotated[int, Path(ge=1, lt=1 << 63)]


def playback_router(reader: FootagePlayback, checker: GrantChecker) -> APIRouter:
    """Make the routes ``/v1/timeline`` and ``/v1/hls``.

    Args:
        reader: of the site's footage.
        checker: of grants.
    """
    router = APIRouter(prefix="/v1", tags=["playback"])
    replay = Annotated[Grant, Depends(checker.require("replay"))]

    @router.get("/timeline/{stream}")
    async def timeline(
        stream: str, from_ns: Nanoseconds, to_ns: Nanoseconds, grant: replay
    ) -> Timeline:
        """What is recorded of a stream in [from_ns, to_ns), what is missing, and why."""
        _check_interval(grant, stream, from_ns, to_ns)
        return await asyncio.to_thread(reader.timeline, stream, WallTime(from_ns), WallTime(to_ns))

    @router.get("/hls/{stream}/index.m3u8")
    async def index(
        stream: str, from_ns: Nanoseconds, to_ns: Nanoseconds, grant: replay
    ) -> Response:
        """A VOD playlist from the key frame at or before from_ns on; 404 without footage."""
        _check_interval(grant, stream, from_ns, to_ns)
        text = await asyncio.to_thread(_playlist, reader, stream, from_ns, to_ns)
        if text is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "此时段没有录像")
        return Response(text, media_type=_PLAYLIST_TYPE, headers=_NO_STORE)

    @router.api_route("/hls/{stream}/files/{file_id}.mp4", methods=["GET", "HEAD"])
    async def file(request: Request, stream: str, file_id: FileId, grant: replay) -> Response:
        """A range of a file, within the grant's interval to the granularity of key frames."""
        require_stream(grant, stream)
        found = await asyncio.to_thread(reader.file, stream, file_id)
        if found is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "没有此录像文件")
        return await _serve(reader, request, found, grant)

    return router


def _check_interval(grant: Grant, stream: str, from_ns: int, to_ns: int) -> None:
    if to_ns <= from_ns:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "to_ns must be after from_ns")
    if to_ns - from_ns > _LONGEST_PLAYLIST_NS:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "at most 24 hours at once")
    require_stream(grant, stream, from_ns=from_ns, to_ns=to_ns)


def _playlist(reader: FootagePlayback, stream: str, from_ns: int, to_ns: int) -> str | None:
    parts = reader.parts(stream, WallTime(from_ns), WallTime(to_ns))
    wanted = [segment for segment in segments(parts) if segment.last.end_ns > from_ns]
    return playlist(wanted) if wanted else None


async def _serve(
    reader: FootagePlayback, request: Request, file: IndexedFile, grant: Grant
) -> Response:
    etag = f'"{file.version}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    low, high, is_partial = _wanted_range(request, file, etag)
    _require_entitled(file, grant, low, high)
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    if is_partial:
        headers["Content-Range"] = f"bytes {low}-{high - 1}/{file.size}"
    headers["Content-Length"] = str(high - low)
    code = status.HTTP_206_PARTIAL_CONTENT if is_partial else status.HTTP_200_OK
    if request.method == "HEAD":
        return Response(status_code=code, headers=headers, media_type="video/mp4")
    try:
        chunks = await asyncio.to_thread(reader.read, file, low, high - low)
    except Unavailable as exc:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(exc)) from exc
    # A plain iterator: Starlette asks for each chunk in a worker thread.
    return StreamingResponse(chunks, code, headers, media_type="video/mp4")


def _wanted_range(request: Request, file: IndexedFile, etag: str) -> tuple[int, int, bool]:
    """The octets [low, high) asked for, and whether that is a part (RFC 9110, section 14).

    Several ranges, and ranges of a version we no longer have, are answered with the whole file,
    as the standard allows.
    """
    matched = _ONE_RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if matched is None or matched[0] == "bytes=-" or condition not in (None, etag):
        return 0, file.size, False
    first, last = matched[1], matched[2]
    if first:
        low = int(first)
        high = min(int(last) + 1, file.size) if last else file.size
        if last and int(last) < low:
            return 0, file.size, False
    else:
        low, high = max(0, file.size - int(last)), file.size
    if low >= high:
        raise HTTPException(
            status.HTTP_416_RANGE_NOT_SATISFIABLE,
            "the range is outside the file",
            {"Content-Range": f"bytes */{file.size}"},
        )
    return low, high, True


def _require_entitled(file: IndexedFile, grant: Grant, low: int, high: int) -> None:
    """The head of the file is free for whoever may see some of it; the rest is by interval."""
    first, last = entitled_range(file, grant.not_before_ns, grant.not_after_ns)
    if first == last:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "the grant covers nothing of this file")
    is_head = high <= file.init_bytes
    floor = 0 if first <= file.init_bytes else first
    if not is_head and not (floor <= low and high <= last):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            f"the grant covers octets {first}-{last - 1} of this file; ask for a range in them",
        )


def _matches(condition: str, etag: str) -> bool:
    names = [name.strip().removeprefix("W/") for name in condition.split(",")]
    return etag in names or "*" in names
