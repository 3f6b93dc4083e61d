"""The detector process: looks at key frames and says how many people it sees.

``python -m gateway detector --config gateway.toml``. It reads key frames from the media process's
socket and which streams to look at from standard input, and writes lines (`core/detector_lines`)
to standard output. Nothing waits for it: when it is slow, it misses pictures; when it is dead,
nothing but its answers is missing.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from contracts.clock import Clock, SystemClock
from contracts.errors import InvalidInput, ProtocolError, Unavailable
from contracts.timestamps import WallTime
from gateway.adapters.media_control import SOCKET_NAME, SocketKeyFrames
from gateway.adapters.onnx_detector import OnnxFaceDetector
from gateway.adapters.picture_decoder import decode_key_frame
from gateway.config import GatewayConfig
from gateway.core.detector_lines import (
    Detection,
    DetectorHealth,
    detection_line,
    health_line,
    parse_watch,
)
from gateway.ports import KeyFrames

_AGAIN_S = 10.0
_MS = 1_000_000

_log = structlog.get_logger()

Say = Callable[[bytes], None]


class Looker:
    """Looks at key frames of the watched streams, one at a time."""

    def __init__(self, *, cache: Path, frames: KeyFrames, clock: Clock, say: Say) -> None:
        """`say` takes each line. Watches nothing before `watch` was called."""
        self._cache = cache
        self._frames = frames
        self._clock = clock
        self._say = say
        self._watched: frozenset[str] | None = frozenset()
        self._broken: set[str] = set()

    def watch(self, streams: frozenset[str] | None) -> None:
        """Look at these streams; None: at every one."""
        self._watched = streams

    async def run(self) -> None:
        """Load the model as soon as it is there, then look, for ever."""
        self._say(health_line(DetectorHealth(health="starting")))
        detector = await self._load()
        self._say(health_line(DetectorHealth(health="online", model=detector.name)))
        async for stream, at, annex_b in self._frames:
            if self._watched is None or stream in self._watched:
                await asyncio.to_thread(self._look, detector, stream, at, annex_b)

    async def _load(self) -> OnnxFaceDetector:
        told = ""
        while True:
            try:
                return await asyncio.to_thread(OnnxFaceDetector, self._cache)
            except Unavailable as exc:
                if str(exc) != told:
                    told = str(exc)
                    self._say(health_line(DetectorHealth(health="degraded", detail=told)))
            await self._clock.sleep(_AGAIN_S)

    def _look(self, detector: OnnxFaceDetector, stream: str, at: WallTime, annex_b: bytes) -> None:
        began = self._clock.monotonic_ns()
        try:
            picture = decode_key_frame(annex_b, detector.size_for)
        except InvalidInput as exc:
            if stream not in self._broken:
                self._broken.add(stream)
                _log.warning("picture_unreadable", stream=stream, reason=str(exc))
            return
        self._broken.discard(stream)
        people = len(detector.faces(picture))
        took_ms = (self._clock.monotonic_ns() - began) // _MS
        self._say(detection_line(Detection(stream=stream, at=at, people=people, took_ms=took_ms)))


async def _listen(looker: Looker, stop: asyncio.Event) -> None:
    """Take orders from standard input; its end is the end of whoever started us."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, OSError):  # no pipe: started by hand, to be looked at
        looker.watch(None)
        return
    while line := await reader.readline():
        try:
            looker.watch(parse_watch(line))
        except ProtocolError as exc:
            _log.warning("order_unreadable", reason=str(exc))
    stop.set()


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


async def _run(config: GatewayConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = SystemClock()
    frames = SocketKeyFrames(
        config.data / SOCKET_NAME, clock=clock, interval_s=config.detector.interval_s
    )
    looker = Looker(cache=config.model_cache, frames=frames, clock=clock, say=_say)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(looker.run(), name="look"),
            group.create_task(_listen(looker, stop), name="listen"),
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()


def main(config: GatewayConfig) -> int:
    """Look until SIGTERM or until standard input ends."""
    status = 0
    try:
        asyncio.run(_run(config))
    except* BrokenPipeError:
        status = 1  # whoever read our lines is gone
    return status
