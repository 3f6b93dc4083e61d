"""A crash between any two operations on the disk leaves a volume that recovers without findings."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from contracts.timestamps import NS, WallTime
from gateway.adapters.footage.disk import LocalDisk
from gateway.adapters.footage.reader import FootageVolume
from gateway.core.parts import Interrupted
from gateway.core.segmenter import SegmenterOptions
from tests.h264_units import FRAME_NS, START, clip
from tests.integration.gateway.recording import STREAM, Feed, findings, volume

pytestmark = pytest.mark.integration

FOR_EVER = WallTime(1 << 62)


class PhotographedDisk(LocalDisk):
    """Copies the volume before each operation, as a crash at that moment would leave it.

    `unsynced` says what becomes of octets that were not synced: ``kept`` after kill -9, ``lost`` or
    ``zero`` after a power cut.
    """

    def __init__(self, folder: Path, copies: Path, unsynced: str) -> None:
        self.copies: list[Path] = []
        self._folder = folder
        self._copies = copies
        self._unsynced = unsynced
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, int] = {}

    def create(self, path: Path) -> int:
        self._photograph()
        fd = super().create(path)
        self._paths[fd] = path
        self._synced[path] = 0
        return fd

    def append(self, fd: int, octets: bytes) -> None:
        self._photograph()
        super().append(fd, octets)

    def sync(self, fd: int) -> None:
        self._photograph()
        super().sync(fd)
        self._synced[self._paths[fd]] = self._paths[fd].stat().st_size

    def _photograph(self) -> None:
        copy = self._copies / str(len(self.copies))
        shutil.copytree(self._folder, copy)
        self.copies.append(copy)
        if self._unsynced == "kept":
            return
        for path, size in self._synced.items():
            copied = copy / path.relative_to(self._folder)
            octets = copied.read_bytes()
            tail = bytes(len(octets) - size) if self._unsynced == "zero" else b""
            copied.write_bytes(octets[:size] + tail)


@pytest.mark.parametrize("unsynced", ["kept", "lost", "zero"])
async def test_every_moment_of_a_recording_can_be_the_last(tmp_path, unsynced):
    folder = tmp_path / "volume"
    disk = PhotographedDisk(folder, tmp_path / "copies", unsynced)
    frames = clip()
    async with volume(folder, disk=disk) as store:
        feed = Feed(store, options=SegmenterOptions(file_ns=2 * NS, settle_ns=0))
        feed.expect(START - NS)
        feed.session("s1")
        for second in range(5):
            await feed.push(frames.unit(n) for n in range(25 * second, 25 * second + 25))
            await store.flush()
        feed.interrupt(Interrupted(at=WallTime(START), cause="no_media"))
        await feed.push(frames.unit(n) for n in range(200, 230))
        feed.stop()
    ends, causes = [], set()
    for copy in disk.copies:
        async with volume(copy):
            timeline = FootageVolume(copy).timeline(STREAM, WallTime(0), FOR_EVER)
        assert findings(copy) == [], copy.name
        ends.append(timeline.recorded[-1].to_ns if timeline.recorded else START)
        if timeline.recorded:
            causes.add(timeline.gaps[-1].cause)
            assert (timeline.gaps[-1].from_ns, timeline.gaps[-1].to_ns) == (ends[-1], None)
    assert causes == {"gateway_crashed", "no_media"}
    assert len(ends) > 20
    assert all(before <= after for before, after in pairwise(ends)), "nothing committed is lost"
    assert ends[-1] >= START + (200 if unsynced == "kept" else 125) * FRAME_NS
