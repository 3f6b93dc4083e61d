"""The detector as a process: real key frames in, lines about people out."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from contracts.clock import SystemClock
from contracts.errors import InvalidInput
from contracts.timestamps import WallTime
from contracts.wire.footage import GapCause
from gateway.adapters.media_control import SOCKET_NAME, MediaControlServer
from gateway.adapters.picture_decoder import decode_key_frame
from gateway.core.detector_lines import (
    Detection,
    DetectorHealth,
    parse_from_detector,
    watch_line,
)
from gateway.core.media_status import MediaStatus
from models import fetch
from tests.integration.models.conftest import model_cache, portrait, wheels
from tests.waiting import until

pytestmark = pytest.mark.integration

__all__ = ["model_cache", "portrait", "wheels"]

MAIN = "cam-07-front.main"
OTHER = "cam-08-front.main"
Picture = npt.NDArray[np.uint8]

TOML = """
site = "demo"
data = "."
listen = "127.0.0.1:0"
certificate = "c"
key = "k"
ca = "ca"
central_certificate = "cc"
[broker]
url = "nats://127.0.0.1:1"
[media]
volumes = ["footage"]
[detector]
cache = "{cache}"
interval_s = 0.1
"""


def encode(picture: Picture, codec: str = "libx264") -> bytes:
    """One key frame of a picture, Annex B."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = picture.shape[1], picture.shape[0]
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, 25)
    context.options = {"preset": "ultrafast", "tune": "zerolatency"}
    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
    return b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])


class Feed:
    """Pictures of two streams, again and again."""

    def __init__(self, pictures: dict[str, bytes]) -> None:
        self.pictures = pictures
        self._turn = 0

    async def next(self) -> tuple[str, WallTime, bytes]:
        await asyncio.sleep(0.02)
        self._turn += 1
        stream = sorted(self.pictures)[self._turn % len(self.pictures)]
        return stream, SystemClock().now(), self.pictures[stream]

    def close(self) -> None: ...


class Commands:
    """A media process that has nothing but key frames."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def publish(self, *, stream: str, device: str, sdp: str) -> tuple[str, str]:
        raise NotImplementedError

    async def view(self, *, stream: str, sdp: str) -> tuple[str, str]:
        raise NotImplementedError

    async def close(self, *, session: str, stream: str) -> None:
        raise NotImplementedError

    async def expect(self, *, streams: list[str]) -> None:
        raise NotImplementedError

    async def set_cause(self, *, stream: str, cause: GapCause | None, detail: str) -> None:
        raise NotImplementedError

    def status(self) -> MediaStatus:
        return MediaStatus()

    def key_frames(self, *, interval_s: float) -> Feed:
        return self._feed


class DetectorProcess:
    """`python -m gateway detector` and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[Detection | DetectorHealth] = []

    @property
    def detections(self) -> list[Detection]:
        return [s for s in self.said if isinstance(s, Detection)]

    @property
    def health(self) -> DetectorHealth | None:
        return next((s for s in reversed(self.said) if isinstance(s, DetectorHealth)), None)

    def watch(self, *streams: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(watch_line(streams))

    async def hear(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.said.append(parse_from_detector(line))


@asynccontextmanager
async def detector(folder: Path, cache: Path, feed: Feed) -> AsyncIterator[DetectorProcess]:
    config = folder / "gateway.toml"
    config.write_text(TOML.format(cache=cache), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "detector", "--config", str(config)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    one = DetectorProcess(process)
    server = MediaControlServer(folder / SOCKET_NAME, Commands(feed))
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(server.run()), tasks.create_task(one.hear())]
            yield one
            for task in running:
                task.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def test_it_tells_somebody_from_nobody(tmp_path: Path, model_cache: Path, portrait: Picture):
    """Of the watched stream only; when the picture empties, the count does."""
    feed = Feed({MAIN: encode(portrait), OTHER: encode(portrait)})
    async with detector(tmp_path, model_cache, feed) as one:
        await until(lambda: one.health and one.health.health == "online", 30)
        assert one.health is not None
        assert one.health.model == "yunet 2023mar"
        one.watch(MAIN)
        await until(lambda: len(one.detections) >= 3, 30)
        assert {(d.stream, d.people) for d in one.detections} == {(MAIN, 1)}
        feed.pictures[MAIN] = encode(np.full_like(portrait, 90))
        await until(lambda: one.detections[-1].people == 0, 30)
        one.watch()
        assert one.process.stdin is not None
        one.process.stdin.close()
        assert await one.process.wait() == 0


async def test_without_a_model_it_says_so_and_waits(tmp_path: Path):
    """Degraded, with the command to run; it does not die and looks at nothing."""
    async with detector(tmp_path, tmp_path / "none", Feed({MAIN: b""})) as one:
        one.watch(MAIN)
        await until(lambda: one.health and one.health.health == "degraded", 30)
        assert one.health is not None
        assert "mingjing models fetch" in one.health.detail
        assert one.process.returncode is None


async def test_a_broken_picture_hurts_no_other(
    tmp_path: Path, model_cache: Path, portrait: Picture
):
    """A camera that sends garbage does not blind the others."""
    feed = Feed({MAIN: encode(portrait), OTHER: b"\x00\x00\x01\x65garbage"})
    async with detector(tmp_path, model_cache, feed) as one:
        one.watch(MAIN, OTHER)
        await until(lambda: len(one.detections) >= 3, 30)
        assert {d.stream for d in one.detections} == {MAIN}


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_key_frames_of_both_codecs_decode_small(portrait: Picture, codec: str):
    """512 × 512 in, the wanted size out, and still the same picture."""
    try:
        coded = encode(portrait, codec)
    except av.error.FFmpegError as exc:
        pytest.skip(f"this build of FFmpeg cannot encode with {codec}: {exc}")
    small = decode_key_frame(coded, lambda width, height: (width // 2, height // 4))
    assert small.shape == (128, 256, 3)
    assert abs(float(small.mean()) - float(portrait.mean())) < 4


@pytest.mark.parametrize("coded", [b"", b"\x00\x00\x01", b"\x00\x00\x01\x67\x42", b"abc" * 99])
def test_what_is_no_key_frame_is_named(coded: bytes):
    """Any bytes give an error, not a crash."""
    with pytest.raises(InvalidInput, match="picture"):
        decode_key_frame(coded, lambda width, height: (width, height))


def test_the_manifest_names_what_facts_name():
    """The model in a presence fact can be looked up."""
    entry = fetch.load_manifest().models["yunet"]
    assert f"yunet {entry.version}" == "yunet 2023mar"
