import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import uvloop

from contracts.clock import SystemClock
from contracts.media.h264 import is_key
from edge_agent.core.device_profile import DeviceProfile
from edge_agent.drivers.rtsp_camera import CameraOptions, RtspCamera
from edge_agent.ports import DriverParts
from mingjing.simulators.sei_clock import read_clock_sei
from tests.fakes.camera_process import gst_camera, simulated_camera, why_no_gst
from tests.fakes.device_sinks import FakeEventSink, FakeHealth
from tests.fakes.media_sink import FakeMediaSink
from tests.waiting import until

pytestmark = pytest.mark.integration

SMALL = ("--width", "320", "--height", "180", "--kbps", "400", "--gop", "25")


@dataclass
class Watched:
    sink: FakeMediaSink
    health: FakeHealth


@asynccontextmanager
async def driver(**options: object) -> AsyncIterator[Watched]:
    watched = Watched(FakeMediaSink(), FakeHealth())
    parts = DriverParts(
        site="demo",
        device="cam-07-front",
        profile=DeviceProfile(name="generic-rtsp", driver="rtsp_camera", maker="maker"),
        media={"main": watched.sink},
        events=FakeEventSink(),
        health=watched.health,
        clock=SystemClock(),
        random=lambda: 0.9,
    )
    camera = RtspCamera(CameraOptions(**options), parts)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(camera.run())
        try:
            yield watched
        finally:
            task.cancel()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_access_units_are_what_the_camera_sent(transport: str, tmp_path: Path) -> None:
    record = tmp_path / "sent"
    async with (
        simulated_camera(*SMALL, "--record-sent", str(record)) as url,
        driver(url=url, transport=transport) as seen,
    ):
        await until(lambda: len(seen.sink.video()) >= 60)
        await until(lambda: len(seen.sink.audio()) >= 50)
        got = seen.sink.digests()
        units = seen.sink.video()
        await until(lambda: len(record.read_text().split()) >= len(got))
    sent = record.read_text().split()
    start = sent.index(got[0])
    assert got == sent[start : start + len(got)]
    assert units[0].key
    assert is_key(units[0].payload)
    assert (units[0].config.width, units[0].config.height) == (320, 180)
    assert {unit.lost_before for unit in units} == {0}
    assert len({id(unit.config) for unit in units}) == 1
    steps = {later.media_time - earlier.media_time for earlier, later in pairwise(units)}
    assert all(step % 3600 == 0 and step > 0 for step in steps)
    assert ("online", "ok", "") in seen.health.reports
    assert seen.health.described["maker"] == "maker"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_the_agents_own_loop_works_too(transport: str) -> None:
    async def watch(url: str) -> list[str]:
        async with driver(url=url, transport=transport) as seen:
            await until(lambda: len(seen.sink.video()) >= 30)
        return seen.health.causes

    async with simulated_camera(*SMALL) as url:
        causes = await asyncio.to_thread(lambda: uvloop.run(watch(url)))
    assert causes[-1] == "ok"


async def test_capture_time_agrees_with_the_clock_in_the_picture() -> None:
    async with simulated_camera(*SMALL) as url, driver(url=url) as seen:
        await until(lambda: len(seen.sink.video()) >= 30)
    claimed = [unit for unit in seen.sink.video() if unit.captured_at is not None]
    assert len(claimed) >= 25
    errors_ms = [
        abs((unit.captured_at or 0) - (read_clock_sei(unit.payload) or 0)) / 1e6 for unit in claimed
    ]
    # A frame is stamped when drawn, its RTP time says when it was due: a busy machine is late.
    assert sorted(errors_ms)[len(errors_ms) // 2] < 250
    assert seen.health.offsets


@pytest.mark.parametrize("auth", ["basic", "digest", "digest-sha256"])
async def test_credentials(auth: str, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("s3cret: 秘密\n")
    wrong.write_text("guess\n")
    arguments = ("--username", "viewer", "--password-file", str(right), "--auth", auth)
    async with simulated_camera(*SMALL, *arguments) as url:
        async with driver(url=url, username="viewer", password_file=right) as seen:
            await until(lambda: len(seen.sink.video()) >= 2)
        async with driver(url=url, username="viewer", password_file=wrong) as seen:
            await until(lambda: "bad_credentials" in seen.health.causes)
            assert seen.sink.downs[0][0] == "bad_credentials"
            assert "guess" not in repr(seen.health.reports)
        async with driver(url=url) as seen:
            await until(lambda: "bad_credentials" in seen.health.causes)
        async with driver(url=url, username="viewer", password_file=tmp_path / "none") as seen:
            await until(lambda: "bad_credentials" in seen.health.causes)
            assert "none" in seen.health.reports[-1][2]


@pytest.mark.parametrize(
    ("fault", "transport", "cause"),
    [
        ("unsupported-codec", "tcp", "unsupported_codec"),
        ("garbage", "tcp", "protocol_garbage"),
        ("garbage", "udp", "protocol_garbage"),
        ("stall-after=0.5", "tcp", "no_media"),
        ("no-key-frames", "tcp", "no_key_frames"),
        ("refuse", "tcp", "unreachable"),
        ("busy", "tcp", "unreachable"),
    ],
)
async def test_faults_have_names(fault: str, transport: str, cause: str) -> None:
    async with (
        simulated_camera(*SMALL, "--fault", fault) as url,
        driver(url=url, transport=transport) as seen,
    ):
        await until(lambda: cause in seen.health.causes, 20)
        detail = next(report[2] for report in seen.health.reports if report[1] == cause)
    assert "127.0.0.1" in detail
    assert "请" in detail


async def test_wrong_path_and_nobody_there(unused_tcp_port: int) -> None:
    async with (
        simulated_camera(*SMALL) as url,
        driver(url=url.replace("/main", "/missing")) as seen,
    ):
        await until(lambda: "没有这个码流" in repr(seen.health.reports))
    async with driver(url=f"rtsp://127.0.0.1:{unused_tcp_port}/main") as seen:
        await until(lambda: "unreachable" in seen.health.causes)


async def test_a_camera_that_dies_comes_back(unused_tcp_port: int) -> None:
    port = ("--port", str(unused_tcp_port))
    url = f"rtsp://127.0.0.1:{unused_tcp_port}/main"
    async with driver(url=url) as seen:
        async with simulated_camera(*SMALL, *port):
            await until(lambda: len(seen.sink.video()) >= 5, 20)
        await until(lambda: seen.sink.downs and seen.sink.downs[-1][0] == "connection_lost")
        before = len(seen.sink.video())
        async with simulated_camera(*SMALL, *port):
            await until(lambda: len(seen.sink.video()) >= before + 5, 30)
        assert len(seen.sink.sessions) == 2
        assert seen.sink.video()[before].key


async def test_keep_alive_outlives_the_session_timeout() -> None:
    async with (
        simulated_camera(*SMALL, "--session-timeout", "5") as url,
        driver(url=url, transport="udp") as seen,
    ):
        await until(lambda: len(seen.sink.video()) >= 175, 20)
    assert seen.sink.downs == []


async def test_loss_on_udp_drops_whole_units_and_says_so(tmp_path: Path) -> None:
    record = tmp_path / "sent"
    async with (
        simulated_camera(
            *SMALL, "--record-sent", str(record), "--fault", "lose-permille=50"
        ) as url,
        driver(url=url, transport="udp") as seen,
    ):
        await until(lambda: any(unit.lost_before for unit in seen.sink.video()), 30)
        got = seen.sink.digests()
        await until(lambda: got[-1] in record.read_text())
    assert set(got) <= set(record.read_text().split())


class TestStranger:
    """gst-rtsp-server shares no code with us."""

    @pytest.fixture(autouse=True)
    def _needs_gst(self) -> None:
        if reason := why_no_gst():
            pytest.skip(f"gst-rtsp-server is not installed for /usr/bin/python3: {reason}")

    @pytest.mark.parametrize("transport", ["tcp", "udp"])
    async def test_plays(self, transport: str) -> None:
        async with gst_camera() as url, driver(url=url, transport=transport) as seen:
            await until(lambda: len(seen.sink.video()) >= 50, 30)
            await until(lambda: len(seen.sink.audio()) >= 20)
            await until(lambda: seen.sink.video()[-1].captured_at, 20)  # its reports take seconds
        units = seen.sink.video()
        assert (units[0].config.width, units[0].config.height) == (640, 360)
        assert units[0].key
        assert {unit.lost_before for unit in units} == {0}
        assert ("online", "ok", "") in seen.health.reports

    async def test_digest(self, tmp_path: Path) -> None:
        password = tmp_path / "password"
        password.write_text("pw")
        async with gst_camera("--username", "u", "--password", "pw") as url:
            async with driver(url=url, username="u", password_file=password) as seen:
                await until(lambda: len(seen.sink.video()) >= 2, 30)
            async with driver(url=url) as seen:
                await until(lambda: "bad_credentials" in seen.health.causes)
