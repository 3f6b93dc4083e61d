"""An inspector opens a step: proves that its footage can be fetched and decoded.

Reads the playlist as a browser's player does (RFC 8216: EXT-X-MAP, EXT-X-BYTERANGE,
EXT-X-PROGRAM-DATE-TIME), takes the first segment and decodes it.
"""

import io
import re
from dataclasses import dataclass
from urllib.parse import urljoin

import av
import numpy as np
import numpy.typing as npt

from central.api.schemas import CaseTimeline, RetrievalRequest, Step, StreamLane
from contracts.clock import SystemClock
from contracts.errors import ProtocolError, Unavailable
from contracts.timestamps import NS, NS_PER_MS, from_iso
from mingjing.central_client import CentralClient
from mingjing.simulators import burnt_clock

_REASON = "演示自检: 核对本环节的录像能否取回并解码"
_MOST_PLAYLIST_CHARS = 4_000_000
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes of a file; `length` None means to its end."""

    uri: str
    offset: int = 0
    length: int | None = None

    def header(self) -> str:
        """Value of the ``Range`` header."""
        end = "" if self.length is None else self.offset + self.length - 1
        return f"bytes={self.offset}-{end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSegment:
    """What a player needs for the first picture. `begins_ns`: wall time of its first sample."""

    initialisation: ByteRange
    media: ByteRange
    begins_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageCheck:
    """What was fetched and found."""

    stream: str
    segments: int
    bytes_fetched: int
    frames_decoded: int
    width: int
    height: int
    seconds_to_first_frame: float
    """From the inspector's request, reason given, to the first decoded picture."""
    clock_error_ms: int | None
    """Burnt-in clock less the playlist's time; None when the picture has no such clock."""


async def check_footage(client: CentralClient, case_no: str, step: Step) -> FootageCheck:
    """Fetch and decode the beginning of a step's footage.

    Raises:
        Unavailable: no stream has footage, or nothing could be decoded.
    """
    clock = SystemClock()
    began = clock.monotonic_ns()
    retrieval = await client.retrieve(
        case_no, RetrievalRequest(step=step.seq, reason=_REASON, basis="routine_check")
    )
    begin, end = step.started_ms or retrieval.from_ms, step.ended_ms or retrieval.to_ms
    timeline = await client.get(
        f"/api/cases/{case_no}/timeline",
        CaseTimeline,
        from_ms=retrieval.from_ms,
        to_ms=retrieval.to_ms,
        retrieval=retrieval.id,
    )
    lane = _recorded_lane(timeline)
    address = f"/api/replay/{retrieval.id}/{lane.stream}/index.m3u8?from_ms={begin}&to_ms={end}"
    playlist = (await _fetch(client, address)).decode()
    first = read_playlist(playlist)
    initialisation = await _fetch(
        client, urljoin(address, first.initialisation.uri), first.initialisation
    )
    media = await _fetch(client, urljoin(address, first.media.uri), first.media)
    pictures = decode(initialisation + media)
    seconds = (clock.monotonic_ns() - began) / NS
    return FootageCheck(
        stream=lane.stream,
        segments=playlist.count("#EXTINF"),
        bytes_fetched=len(playlist) + len(initialisation) + len(media),
        frames_decoded=pictures.count,
        width=pictures.width,
        height=pictures.height,
        seconds_to_first_frame=round(seconds, 3),
        clock_error_ms=_clock_error(pictures.first, first.begins_ns),
    )


def read_playlist(text: str) -> FirstSegment:
    """Find the first segment of a media playlist.

    Raises:
        ProtocolError: not a playlist, or without the parts a player needs.
    """
    if not text.startswith("#EXTM3U") or len(text) > _MOST_PLAYLIST_CHARS:
        raise ProtocolError("not a playlist", field="m3u8")
    initialisation: ByteRange | None = None
    begins_ns: int | None = None
    media = ""
    for line in text.splitlines():
        tag, _, value = line.partition(":")
        match tag:
            case "#EXT-X-MAP":
                initialisation = _map(value)
            case "#EXT-X-PROGRAM-DATE-TIME":
                begins_ns = from_iso(value.strip(), field="m3u8.program_date_time")
            case "#EXT-X-BYTERANGE":
                media = value
            case _ if line and not line.startswith("#"):
                if initialisation is None or begins_ns is None:
                    raise ProtocolError("lacks EXT-X-MAP or PROGRAM-DATE-TIME", field="m3u8")
                return FirstSegment(
                    initialisation=initialisation, media=_range(line, media), begins_ns=begins_ns
                )
    raise ProtocolError("holds no segment", field="m3u8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Decoded pictures of one segment; `first` is grey."""

    count: int
    width: int
    height: int
    first: npt.NDArray[np.uint8]


def decode(content: bytes) -> Pictures:
    """Decode every video frame of an fMP4.

    Raises:
        Unavailable: there is none.
    """
    try:
        with av.open(io.BytesIO(content), mode="r", format="mp4") as container:
            frames = list(container.decode(video=0))
    except (av.FFmpegError, IndexError) as exc:
        raise Unavailable(f"the footage cannot be decoded: {exc}") from exc
    if not frames:
        raise Unavailable("the segment holds no picture")
    grey = frames[0].to_ndarray(format="gray").astype(np.uint8, copy=False)
    return Pictures(count=len(frames), width=frames[0].width, height=frames[0].height, first=grey)


def _recorded_lane(timeline: CaseTimeline) -> StreamLane:
    for lane in timeline.streams:
        if lane.recorded and lane.playable:
            return lane
    reachable = any(lane.reachable for lane in timeline.streams)
    raise Unavailable(
        "这个环节没有可播放的录像 / the step has no playable footage"
        if reachable
        else "网关没有应答 / the site's gateway did not answer"
    )


async def _fetch(client: CentralClient, address: str, part: ByteRange | None = None) -> bytes:
    headers = {"Range": part.header()} if part and (part.offset or part.length) else {}
    response = await client.http.get(address, headers=headers)
    if not response.is_success:
        raise Unavailable(f"GET {address} → {response.status_code}: {response.text[:300]}")
    if headers and response.status_code != 206:  # noqa: PLR2004 - Partial Content, RFC 9110
        raise Unavailable(f"GET {address}: asked for a range, got {response.status_code}")
    return response.content


def _map(value: str) -> ByteRange:
    attributes = {name: text.strip('"') for name, text in _ATTRIBUTE.findall(value)}
    if "URI" not in attributes:
        raise ProtocolError("EXT-X-MAP lacks URI", field="m3u8.map")
    return _range(attributes["URI"], attributes.get("BYTERANGE", ""))


def _range(uri: str, text: str) -> ByteRange:
    if not text:
        return ByteRange(uri=uri)
    length, _, offset = text.partition("@")
    try:
        return ByteRange(uri=uri, offset=int(offset or 0), length=int(length))
    except ValueError as exc:
        raise ProtocolError(f"{text!r} is no byte range", field="m3u8.byterange") from exc


def _clock_error(picture: npt.NDArray[np.uint8], begins_ns: int) -> int | None:
    burnt = burnt_clock.decode(picture)
    if burnt is None:
        return None
    stated = begins_ns // NS_PER_MS
    return burnt_clock.unwrap(burnt, stated) - stated
