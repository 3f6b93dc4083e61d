"""The media process as the gateway starts it: a child with a configuration file."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from contracts.errors import InvalidInput, Unavailable
from gateway.adapters.media_control import MediaControl
from gateway.core.media_errors import UnknownStream
from mingjing.ca import SiteCa
from tests.integration.gateway.media_site import STREAM, publishing, running_api
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def config(tmp_path: Path) -> Path:
    now = SystemClock().now()
    SiteCa.open(tmp_path / "ca", site="demo", now=now).program(
        tmp_path / "programs" / "gateway", "gateway", now=now
    )
    file = tmp_path / "gateway.toml"
    file.write_text(
        """
        site = "demo"
        data = "gateway"
        listen = "127.0.0.1:0"
        certificate = "programs/gateway/cert.pem"
        key = "programs/gateway/key.pem"
        ca = "ca/ca.pem"
        central_certificate = "programs/gateway/cert.pem"
        [broker]
        url = "tls://127.0.0.1:4222"
        [media]
        volumes = ["footage"]
        ice_addresses = ["127.0.0.1"]
        """
    )
    return file


async def start(config: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "media", "--config", str(config), stderr=PIPE
    )


@contextlib.asynccontextmanager
async def running(config: Path) -> AsyncIterator[tuple[Process, MediaControl]]:
    process = await start(config)
    control = MediaControl(config.parent / "gateway" / "media.sock")
    try:
        await until(lambda: _answers(control))
        yield process, control
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _answers(control: MediaControl) -> bool:
    with contextlib.suppress(Unavailable):
        await control.status()
        return True
    return False


async def test_ends_in_order_when_asked(config: Path) -> None:
    """SIGTERM is no fault, and only this user may open the socket."""
    async with running(config) as (process, control):
        await control.expect([STREAM])
        (stream,) = (await control.status()).streams
        assert (stream.source, stream.cause, stream.expected) == (
            "not_started",
            "not_started",
            True,
        )
        socket = config.parent / "gateway" / "media.sock"
        assert socket.stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_there_is_only_one(config: Path) -> None:
    """A second one says so and leaves the first alone."""
    async with running(config) as (_, control):
        second = await start(config)
        _, complaint = await second.communicate()
        assert second.returncode == 1
        assert "已有媒体进程在运行" in complaint.decode()
        assert (await control.status()).streams == ()


async def test_a_crash_leaves_nothing_in_the_way(config: Path) -> None:
    """After ``kill -9`` socket, lock and volume are taken over."""
    async with running(config) as (process, control):
        await control.expect([STREAM])
        process.kill()
        await process.wait()
        with pytest.raises(Unavailable, match="no answer"):
            await control.status()
    async with running(config) as (_, control):
        await control.expect([STREAM])
        assert (await control.status()).streams[0].recorder == "recording"


async def test_recording_goes_on_after_a_crash(config: Path) -> None:
    """``kill -9`` of the media process while a camera publishes: the agent is back by itself."""
    config.write_text(config.read_text().replace('data = "gateway"', 'data = "."'))
    folder = config.parent
    async with running_api(folder) as site, contextlib.AsyncExitStack() as stack:
        first = await start(config)
        await until(lambda: _answers(site.control))
        source = await stack.enter_async_context(publishing(site))
        first.kill()
        await first.communicate()
        crashed = len(source.sent)
        second = await start(config)
        try:
            await until(lambda: _answers(site.control))
            await site.control.expect([STREAM])
            await until(site.delivers, 20)
            await until(lambda: len(source.sent) > crashed + 200)
        finally:
            await stack.aclose()
            if second.returncode is None:
                second.terminate()
            _, complaint = await second.communicate()
    assert second.returncode == 0, complaint.decode()
    # No more than `crashed` can be from before the crash.
    assert len(site.recorded) > crashed + 25


async def test_errors_keep_their_kind_across_the_socket(config: Path) -> None:
    """The API answers with the right status because it gets the right error."""
    async with running(config) as (_, control):
        with pytest.raises(UnknownStream):
            await control.view(STREAM, "v=0")
        with pytest.raises(InvalidInput) as caught:
            await control.publish(STREAM, "cam-07-front", "v=0")
        assert caught.value.field == "sdp.media"
        with pytest.raises(InvalidInput):
            await control.expect(["no stream"])
        await control.set_cause("cam-99.main", "no_media")
        await control.expect([STREAM])
        await control.expect([])
        assert (await control.status()).streams == ()


async def test_nonsense_on_the_socket_harms_nobody(config: Path) -> None:
    """A broken client is answered or cut off, the others are served."""
    async with running(config) as (_, control):
        for line in (b"nonsense\n", b"{}\n", b'{"op": "publish"}\n', b'{"op": 7}\n', b"[]\n"):
            reader, writer = await asyncio.open_unix_connection(
                config.parent / "gateway" / "media.sock"
            )
            writer.write(line)
            writer.write_eof()
            answer = await reader.read()
            assert answer == b"" or b"error" in answer
            writer.close()
        assert (await control.status()).streams == ()
