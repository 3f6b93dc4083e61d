"""A process that records in real time until it is killed; prints the end of each frame.

``python -m tests.integration.gateway.recording_process FOLDER [MOST_FILE_BYTES]``

With a limit, frames are padded with filler to a megabyte a second, so that it is met soon.
"""

import asyncio
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path

from contracts.clock import SystemClock
from contracts.timestamps import WallTime
from gateway.adapters.footage.store import FootageStore
from gateway.core.stream_events import SourceUp
from gateway.services.recorder import Recorder
from tests.fakes.footage import QueueCursor
from tests.h264_units import FPS, FRAME_NS, clip
from tests.integration.gateway.recording import STREAM

FILLER = (40_000).to_bytes(4, "big") + b"\x0c" + bytes((0xFF,)) * 39_998 + b"\x80"
"""A NAL unit of type 12, filler data."""


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def _record(folder: Path, filler: bytes) -> None:
    clock = SystemClock()
    store = FootageStore(folder, clock=clock, on_fault=lambda cause, _: _say("fault", cause))
    cursor = QueueCursor()
    frames = clip()
    await store.open()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run())
        tasks.create_task(Recorder(STREAM, cursor, store, clock).run())
        start = clock.now()
        cursor.put(SourceUp(at=WallTime(start), session="s1"))
        number = 0
        while True:
            wait = (start + number * FRAME_NS - clock.now()) / 1e9
            await clock.sleep(max(0, wait))
            unit = frames.unit(number, start=start)
            cursor.put(replace(unit, payload=unit.payload + filler))
            _say("frame", start + (number + 1) * FRAME_NS)
            number += 1


if __name__ == "__main__":
    assert FPS == 25
    if len(sys.argv) > 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    asyncio.run(_record(Path(sys.argv[1]), FILLER if len(sys.argv) > 2 else b""))
