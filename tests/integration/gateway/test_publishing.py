"""An agent's sender and the media process, over real TLS, ICE, DTLS and SRTP on loopback."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from contracts.clock import SystemClock
from contracts.media.access_unit import AccessUnit
from contracts.media.h264 import to_annex_b
from contracts.signing import PemSigner
from contracts.tokens import DeviceProof, issue
from gateway.adapters.media_control import SocketKeyFrames
from gateway.adapters.webrtc.transport import PeerTransport
from gateway.services.media.stream_buffer import LiveStream
from mingjing.ca import SiteCa
from tests.integration.gateway.media_site import (
    DEVICE,
    SITE,
    STREAM,
    Health,
    MediaSite,
    Source,
    encoded,
    publishing,
    running_site,
)
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[MediaSite]:
    async with running_site(tmp_path) as site:
        yield site


async def test_what_the_camera_sent_is_recorded_bit_for_bit(tmp_path: Path) -> None:
    """From the sender's queue to the MP4 on disk nothing is lost, changed or reordered."""
    async with running_site(tmp_path) as site:
        async with publishing(site, profile="main", width=640) as source:
            await until(lambda: len(source.sent) > 80)
            source.paused = True
            await until(lambda: _units(site, len(source.sent)))
            status = await site.status()
        assert (status.codec, status.width, status.packets_lost) == ("h264", 640, 0)
        assert status.recorder == "recording"
        assert status.clock_offset_ms is not None
        assert -1000 < status.clock_offset_ms <= -30
    assert site.recorded == source.sent


@pytest.mark.parametrize("loss", [0.01, 0.05])
async def test_lost_packets_are_asked_for_again(
    loss: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 % and 5 % random loss of everything, retransmissions included, lose no picture."""
    dice = random.Random(20)  # noqa: S311 - which packets are lost is no secret
    dropped = 0
    take = PeerTransport._take

    def lossy(self: PeerTransport, data: bytes) -> None:
        nonlocal dropped
        if dice.random() < loss:
            dropped += 1
        else:
            take(self, data)

    monkeypatch.setattr(PeerTransport, "_take", lossy)
    async with running_site(tmp_path) as site, publishing(site, width=1280) as source:
        await until(lambda: len(source.sent) > 60)
        source.paused = True
        await until(lambda: _units(site, len(source.sent)))
        assert (await site.status()).packets_lost == 0
    assert dropped > 20
    assert site.recorded == source.sent


async def _units(site: MediaSite, count: int) -> bool:
    """Whether the newest unit has arrived: nothing came for a while after the source paused."""
    first = await site.status()
    await asyncio.sleep(0.5)
    return first.last_unit_at == (await site.status()).last_unit_at and count > 0


async def test_a_device_that_publishes_again_replaces_its_session(site: MediaSite) -> None:
    """An agent that restarted does not wait for its own ghost to time out."""
    async with publishing(site):
        first = (await site.status()).session
        again = site.sender()
        source = Source(again)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(again.run()), group.create_task(source.run())]

            async def replaced() -> bool:
                status = await site.status()
                return status.session != first and status.source == "delivering"

            await until(replaced)
            for task in tasks:
                task.cancel()


async def test_an_agent_that_vanishes_is_noticed_and_may_come_back(site: MediaSite) -> None:
    """Its machine lost power: no goodbye. The gap begins at its last picture."""
    async with publishing(site):
        for transport in _transports():
            for protocol in transport._connection._protocols:
                protocol.datagram_received = lambda _data, _addr: None

        async def is_noticed() -> bool:
            status = await site.status()
            return status.cause == "agent_disconnected" and "nothing heard" in status.detail

        await until(is_noticed, 15)
        await until(site.delivers, 15)


async def test_a_fault_in_a_callback_closes_nothing(
    site: MediaSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect met by every tenth unit costs no session; stock aiortc would end it at the first."""
    put, count = LiveStream.put, 0

    def defect(self: LiveStream, unit: AccessUnit) -> None:
        nonlocal count
        count += 1
        if count % 10 == 0:
            raise RuntimeError("a defect")
        put(self, unit)

    monkeypatch.setattr(LiveStream, "put", defect)
    async with publishing(site):
        session = (await site.status()).session
        await until(lambda: count > 60)
        status = await site.status()
        assert (status.session, status.source) == (session, "delivering")


def _transports() -> list[PeerTransport]:
    return [t for t in gc.get_objects() if type(t) is PeerTransport and not t.ended.is_set()]


async def test_source_that_falls_silent_is_down_for_the_reason_its_device_gives(
    site: MediaSite,
) -> None:
    """The session stays; the gateway notices the silence and learns the cause elsewhere."""
    async with publishing(site) as source:
        source.paused = True
        await site.control.set_cause(STREAM, "camera_unreachable", "摄像机断电")

        async def is_silent() -> bool:
            return (await site.status()).source == "silent"

        await until(is_silent)
        status = await site.status()
        assert (status.cause, status.detail) == ("camera_unreachable", "摄像机断电")
        assert status.session is not None
        source.paused = False
        await until(site.delivers)


async def test_sender_says_who_refused_and_why(site: MediaSite) -> None:
    """The installer reads the gateway's own words, not an error number."""
    site.registered.clear()
    health = Health()
    async with _running(site, health):
        await until(lambda: health.reports)
    state, cause, detail = health.reports[0]
    assert (state, cause) == ("degraded", "gateway_refused")
    assert "未在本站点登记" in detail


async def test_sender_says_when_the_gateway_is_away_and_comes_back(site: MediaSite) -> None:
    """The same sender publishes once it is let in."""
    site.registered.clear()
    health = Health()
    async with _running(site, health):
        await until(lambda: health.reports)
        site.registered.add(STREAM)
        await until(lambda: health.reports[-1] == ("online", "ok", ""))
    away = Health()
    url, site.url = site.url, "https://127.0.0.1:1"
    async with _running(site, away):
        await until(lambda: away.reports)
    site.url = url
    assert away.reports[0][1] == "gateway_unreachable"


@contextlib.asynccontextmanager
async def _running(site: MediaSite, health: Health) -> AsyncIterator[None]:
    sender = site.sender(health)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sender.run())
        yield
        task.cancel()


async def test_key_frames_are_handed_to_who_looks_at_pictures(site: MediaSite) -> None:
    """A subscriber gets decodable key frames; one that reads nothing disturbs nobody."""
    pictures = {to_annex_b(payload) for _, payload, key in encoded() if key}
    idle_reader, idle_writer = await asyncio.open_unix_connection(site.socket)
    idle_writer.write(b'{"id": 1, "op": "key_frames", "interval_s": 0}\n')
    seen = 0
    async with publishing(site) as source:
        frames = SocketKeyFrames(site.socket, clock=SystemClock(), interval_s=0.1)
        async with asyncio.timeout(15), contextlib.aclosing(frames.__aiter__()) as feed:
            async for stream, wall, picture in feed:
                assert stream == STREAM
                assert picture in pictures
                assert abs(wall - SystemClock().now()) < 10 * 10**9
                seen += 1
                if seen == 3:
                    break
        assert len(source.sent) > 50
        assert await site.delivers()
    idle_writer.close()
    assert idle_reader.at_eof() is False


def _proof(site: MediaSite, signer: PemSigner, certificate: str, device: str = DEVICE) -> str:
    return issue(
        DeviceProof(
            site=SITE,
            device=device,
            certificate=certificate,
            expires_s=SystemClock().now() // 10**9 + 60,
        ),
        signer,
    )


async def test_only_the_device_itself_may_publish(site: MediaSite, tmp_path: Path) -> None:
    """No proof, a stranger's CA, another device of the site, a bad body: each has its answer."""
    now = SystemClock().now()
    strangers = SiteCa.open(tmp_path / "strange-ca", site=SITE, now=now)
    stranger = strangers.device(tmp_path / "strange", DEVICE, now=now)
    other = SiteCa.open(site.folder / "ca", site=SITE, now=now).device(
        tmp_path / "other", "cam-08", now=now
    )
    own = _proof(site, PemSigner(site.device.key.read_bytes()), site.device.certificate.read_text())
    forged = _proof(site, PemSigner(stranger.key.read_bytes()), stranger.certificate.read_text())
    others = _proof(
        site, PemSigner(other.key.read_bytes()), other.certificate.read_text(), "cam-08"
    )
    sdp = {"Content-Type": "application/sdp"}
    async with httpx.AsyncClient(base_url=site.url, verify=site.tls, trust_env=False) as http:

        async def post(body: bytes, headers: dict[str, str]) -> int:
            response = await http.post(f"/whip/{STREAM}", content=body, headers=headers)
            return response.status_code

        assert await post(b"v=0", sdp) == 401
        assert await post(b"v=0", sdp | {"Authorization": f"Bearer {forged}"}) == 401
        assert await post(b"v=0", sdp | {"Authorization": f"Bearer {others}"}) == 403
        mine = {"Authorization": f"Bearer {own}"}
        assert await post(b"v=0", mine | {"Content-Type": "text/plain"}) == 415
        assert await post(bytes(70_000), mine | sdp) == 413
        assert await post(b"v=0", mine | sdp) == 400
        assert await post(b"\xff", mine | sdp) == 400
    assert (await site.control.status()).streams == () or (await site.status()).session is None
