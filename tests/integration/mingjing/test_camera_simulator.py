"""The simulated camera seen by FFmpeg's RTSP client, which shares no code with us."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from mingjing.simulators import burnt_clock
from tests.fakes.camera_process import simulated_camera

pytestmark = pytest.mark.integration

SMALL = ("--width", "320", "--height", "180", "--kbps", "400", "--gop", "25")


def opened(url: str, transport: str = "tcp") -> av.container.InputContainer:
    return av.open(url, options={"rtsp_transport": transport}, timeout=10)


def grey_pictures(url: str, transport: str, count: int) -> Iterator[np.ndarray]:
    with opened(url, transport) as container:
        for frame, _ in zip(container.decode(video=0), range(count), strict=False):
            yield frame.to_ndarray(format="gray")


def clocks(url: str, transport: str, count: int) -> list[int | None]:
    return [burnt_clock.decode(grey) for grey in grey_pictures(url, transport, count)]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_the_clock_in_the_picture_runs(transport: str) -> None:
    async with simulated_camera(*SMALL) as url:
        read = await asyncio.to_thread(clocks, url, transport, 30)
    known = [time for time in read if time is not None]
    assert len(known) >= 28
    assert all(later > earlier for earlier, later in pairwise(known))


async def test_the_beep_is_heard_each_second() -> None:
    def sound(url: str) -> np.ndarray:
        with opened(url) as container:
            frames = zip(container.decode(audio=0), range(75), strict=False)
            return np.concatenate([frame.to_ndarray()[0] for frame, _ in frames])

    async with simulated_camera(*SMALL) as url:
        heard = await asyncio.to_thread(sound, url)
    level = np.abs(heard.astype(float)) / 32768
    assert 0.45 < level.max() < 0.55
    loud = np.flatnonzero(level > 0.2)
    beep = heard[loud[0] : loud[0] + 800].astype(float)
    spectrum = np.abs(np.fft.rfft(beep * np.hanning(len(beep))))
    assert abs(spectrum.argmax() * 8000 / len(beep) - 880) < 20


async def test_a_clip_is_encoded_once_and_played_in_a_loop(tmp_path: Path) -> None:
    arguments = (*SMALL, "--mode", "clip", "--cache", str(tmp_path))
    for _ in range(2):
        async with simulated_camera(*arguments) as url:
            pictures = await asyncio.to_thread(lambda at: list(grey_pictures(at, "tcp", 3)), url)
        assert [picture.shape for picture in pictures] == [(180, 320)] * 3
        (clip,) = tmp_path.iterdir()
        made = clip.stat().st_mtime_ns
    assert clip.stat().st_mtime_ns == made


async def test_the_users_own_file_is_played_with_and_without_a_clock(tmp_path: Path) -> None:
    video = tmp_path / "own.mp4"
    with av.open(str(video), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for level in (40, 200) * 3:
            picture = np.full((180, 160), 128, np.uint8)
            picture[:120] = level
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        out.mux(stream.encode(None))
    async with simulated_camera(*SMALL, "--file", str(video)) as url:
        read = await asyncio.to_thread(clocks, url, "tcp", 25)
        assert sum(time is not None for time in read) >= 24
    async with simulated_camera(*SMALL, "--file", str(video), "--no-clock") as url:
        pictures = await asyncio.to_thread(lambda at: list(grey_pictures(at, "tcp", 40)), url)
    assert all(burnt_clock.decode(picture) is None for picture in pictures)
    levels = [float(picture[90:].mean()) for picture in pictures]
    assert min(levels) < 60  # both pictures of the file are seen
    assert max(levels) > 180


async def test_wrong_options_are_one_line() -> None:
    with pytest.raises(AssertionError, match="no video"):
        async with simulated_camera(*SMALL, "--file", __file__):
            pass
