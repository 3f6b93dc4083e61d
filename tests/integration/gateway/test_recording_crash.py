"""A killed recorder loses no more than a second, and says so."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest

from contracts.timestamps import NS, WallTime
from gateway.adapters.footage.reader import FootageVolume
from gateway.adapters.footage.schema import open_for_writing
from tests.h264_units import FPS, FRAME_NS, START, clip
from tests.integration.gateway.recording import STREAM, Feed, findings, media_files, volume
from tests.waiting import until

pytestmark = pytest.mark.integration

KILLED_AFTER = (41, 56, 70, 88, 107)
"""Frames: in the settling second, just before, just after and in the middle of a part."""
FOR_EVER = WallTime(1 << 62)


class Recording:
    """A recording process: what it has taken so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.frames = 0
        self.taken_to_ns = 0
        self.faults: list[str] = []

    async def follow(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            kind, *rest = line.decode().split()
            if kind == "fault":
                self.faults += rest
            elif rest:
                self.frames += 1
                self.taken_to_ns = int(rest[0])

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def recording(folder: Path, *extra: str) -> AsyncIterator[Recording]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.gateway.recording_process",
        str(folder),
        *extra,
        stdout=asyncio.subprocess.PIPE,
    )
    run = Recording(process)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.follow())
        try:
            yield run
        finally:
            await run.kill()


def _recorded(folder: Path) -> list[tuple[int, int]]:
    spans = FootageVolume(folder).timeline(STREAM, WallTime(0), FOR_EVER).recorded
    return [(span.from_ns, span.to_ns) for span in spans]


async def test_kill_9_costs_at_most_a_second_and_leaves_a_gap_that_the_next_frame_closes(tmp_path):
    folders = [tmp_path / str(n) for n in KILLED_AFTER]

    async def kill_after(frames: int, folder: Path) -> Recording:
        async with recording(folder) as run:
            await until(lambda: run.frames >= frames, 60)
            await run.kill()
        return run

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(kill_after(*pair)) for pair in zip(KILLED_AFTER, folders, strict=True)
        ]
    for folder, task in zip(folders, running, strict=True):
        run = task.result()
        async with volume(folder) as store:
            ((begin, end),) = _recorded(folder)
            assert run.taken_to_ns - end <= NS
            gap = FootageVolume(folder).timeline(STREAM, WallTime(0), FOR_EVER).gaps[-1]
            assert (gap.cause, gap.from_ns, gap.to_ns) == ("gateway_crashed", end, None)
            feed = Feed(store)
            feed.session("again")
            await feed.push(clip().unit(n, start=end + 5 * NS) for n in range(60))
            feed.stop()
        assert findings(folder) == []
        assert _recorded(folder) == [(begin, end), (end + 5 * NS, end + 5 * NS + 60 * FRAME_NS)]
        gaps = FootageVolume(folder).timeline(STREAM, WallTime(0), FOR_EVER).gaps
        assert [(g.cause, g.to_ns) for g in gaps[-2:]] == [
            ("gateway_crashed", end + 5 * NS),
            ("gateway_stopped", None),
        ]
        with av.open(media_files(folder)[0]) as container:
            count = sum(1 for packet in container.demux() if packet.size)
        assert count == (end - begin) * FPS // NS


async def _crashed_volume(folder: Path) -> None:
    """A volume as a crash leaves it: parts on disk and in the index, the file not sealed."""
    async with volume(folder) as store:
        feed = Feed(store)
        feed.session("s1")
        await feed.push(clip().unit(n) for n in range(200))
        feed.stop()
    index = open_for_writing(folder)
    index.execute("UPDATE files SET state = 'open', size = NULL, end_reason = NULL")
    index.execute("DELETE FROM gaps WHERE to_ns IS NULL")
    index.close()


def _forget_parts(folder: Path, after: int) -> None:
    index = open_for_writing(folder)
    index.execute("DELETE FROM parts WHERE sequence > ?", (after,))
    index.execute("UPDATE spans SET end_ns = (SELECT max(end_ns) FROM parts)")
    index.close()


async def _recover(folder: Path) -> None:
    async with volume(folder):
        pass


async def test_parts_without_rows_are_adopted_with_their_time(tmp_path):
    await _crashed_volume(tmp_path)
    before = FootageVolume(tmp_path).parts(STREAM, WallTime(0), FOR_EVER)
    _forget_parts(tmp_path, 5)
    await _recover(tmp_path)
    assert FootageVolume(tmp_path).parts(STREAM, WallTime(0), FOR_EVER) == before
    assert findings(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 100, 4000])
async def test_a_torn_tail_is_kept_and_its_length_recorded(tmp_path, cut):
    await _crashed_volume(tmp_path)
    _forget_parts(tmp_path, 9)
    (path,) = media_files(tmp_path)
    octets = path.read_bytes()[:-cut]
    path.write_bytes(octets)
    await _recover(tmp_path)
    assert path.read_bytes() == octets
    index = open_for_writing(tmp_path)
    size, torn = index.execute("SELECT size, torn_bytes FROM files").fetchone()
    index.close()
    assert torn > 0
    assert size + torn == len(octets)
    assert findings(tmp_path) == []
    parts = FootageVolume(tmp_path).parts(STREAM, WallTime(0), FOR_EVER)
    gaps = FootageVolume(tmp_path).timeline(STREAM, WallTime(0), FOR_EVER).gaps
    assert gaps[-1].from_ns == parts[-1].end_ns
    assert parts[-1].end_ns < START + 200 * FRAME_NS


async def test_a_hole_of_zeros_that_a_power_cut_left_is_not_adopted(tmp_path):
    await _crashed_volume(tmp_path)
    parts = FootageVolume(tmp_path).parts(STREAM, WallTime(0), FOR_EVER)
    _forget_parts(tmp_path, len(parts) - 2)
    (path,) = media_files(tmp_path)
    octets = bytearray(path.read_bytes())
    last = parts[-1]
    octets[last.offset + last.length - 600 : last.offset + last.length] = bytes(600)
    path.write_bytes(octets)
    await _recover(tmp_path)
    assert FootageVolume(tmp_path).parts(STREAM, WallTime(0), FOR_EVER) == parts[:-1]
    assert findings(tmp_path) == []


async def test_a_file_that_was_never_created_is_marked_absent(tmp_path):
    await _crashed_volume(tmp_path)
    index = open_for_writing(tmp_path)
    index.execute("DELETE FROM parts")
    index.execute("DELETE FROM spans")
    index.close()
    media_files(tmp_path)[0].unlink()
    await _recover(tmp_path)
    assert findings(tmp_path) == []
    assert FootageVolume(tmp_path).parts(STREAM, WallTime(0), FOR_EVER) == []
