"""Live viewing by WHEP: another WebRTC implementation and a real browser, on loopback."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from playwright.async_api import Page, async_playwright

from gateway.adapters.webrtc.viewer import _Viewer
from tests.integration.gateway.media_site import (
    DEVICE,
    LOOPBACK,
    STREAM,
    MediaSite,
    publishing,
    running_site,
)
from tests.waiting import until

pytestmark = pytest.mark.integration

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
OFFER = """async (audio) => {
  window.pc = new RTCPeerConnection();
  if (audio) pc.addTransceiver('audio', {direction: 'recvonly'});
  pc.addTransceiver('video', {direction: 'recvonly'});
  pc.ontrack = (event) => {
    if (event.track.kind === 'video') video.srcObject = new MediaStream([event.track]);
  };
  await pc.setLocalDescription(await pc.createOffer());
  return pc.localDescription.sdp;
}"""
ANSWER = "async (sdp) => pc.setRemoteDescription({type: 'answer', sdp})"
BAR = """() => {
  if (!video.videoWidth) return -1;
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const row = context.getImageData(0, canvas.height >> 1, canvas.width, 1).data;
  for (let x = 0; x < canvas.width; x++) if (row[4 * x] > 200) return x;
  return -1;
}"""
PUBLISH = """async () => {
  const canvas = document.createElement('canvas');
  canvas.width = 320; canvas.height = 240;
  const context = canvas.getContext('2d');
  let at = 0;
  setInterval(() => {
    context.fillStyle = 'black'; context.fillRect(0, 0, 320, 240);
    context.fillStyle = 'white'; context.fillRect(at = (at + 8) % 280, 0, 40, 240);
  }, 40);
  window.pc = new RTCPeerConnection();
  const sender = pc.addTransceiver(canvas.captureStream(25).getVideoTracks()[0],
                                   {direction: 'sendonly'});
  sender.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(
    codec => ['video/H264', 'video/rtx'].includes(codec.mimeType)));
  await pc.setLocalDescription(await pc.createOffer());
  return pc.localDescription.sdp;
}"""
FIGURES = """async () => {
  const figures = {decoded: 0, audio: 0};
  for (const s of (await pc.getStats()).values())
    if (s.type === 'inbound-rtp' && s.kind === 'video')
      Object.assign(figures, {decoded: s.framesDecoded, lost: s.packetsLost, width: s.frameWidth});
    else if (s.type === 'inbound-rtp' && s.kind === 'audio')
      figures.audio = s.packetsReceived;
  return figures;
}"""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[MediaSite]:
    async with running_site(tmp_path) as site:
        yield site


@pytest.fixture
async def http(site: MediaSite) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, verify=site.tls, trust_env=False) as http:
        yield http


class Watcher:
    """A stock aiortc peer that decodes what it is sent."""

    def __init__(self, codecs: tuple[str, ...] = ("video/h264", "video/rtx")) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transceiver: Any = self.pc.addTransceiver("video", direction="recvonly")
        transceiver.setCodecPreferences(
            [
                codec
                for codec in RTCRtpReceiver.getCapabilities("video").codecs
                if codec.mimeType.lower() in codecs
            ]
        )
        self.track = transceiver.receiver
        connection = transceiver.receiver.transport.transport._connection
        gather = connection.get_component_candidates

        async def loopback(**options: Any) -> Any:
            return await gather(**{**options, "addresses": [LOOPBACK]})

        connection.get_component_candidates = loopback

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def pictures(self, count: int) -> list[np.ndarray]:
        async with asyncio.timeout(15):
            return [(await self.track.track.recv()).to_ndarray(format="gray") for _ in range(count)]


async def watch(site: MediaSite, http: httpx.AsyncClient, watcher: Watcher) -> str:
    response = await http.post(
        f"/whep/{STREAM}", content=await watcher.offer(), headers=site.grant()
    )
    assert response.status_code == 201, response.text
    await watcher.accept(response.text)
    return str(response.headers["location"])


async def test_a_viewer_sees_moving_pictures_and_leaves(
    site: MediaSite, http: httpx.AsyncClient
) -> None:
    """Another implementation decodes what we pass on; DELETE ends the session at once."""
    async with publishing(site):
        watcher = Watcher()
        location = await watch(site, http, watcher)
        pictures = await watcher.pictures(40)
        assert pictures[0].shape[1] == 320
        assert np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 5
        assert (await site.status()).viewers == 1
        assert (await http.delete(location, headers=site.grant())).status_code == 200

        async def is_gone() -> bool:
            return (await site.status()).viewers == 0

        await until(is_gone)
        await watcher.pc.close()


async def test_a_viewer_that_vanishes_disturbs_neither_recording_nor_others(
    tmp_path: Path,
) -> None:
    """Its sockets die without a word; the other viewer goes on and no frame is lost."""
    async with running_site(tmp_path) as site:
        async with (
            httpx.AsyncClient(base_url=site.url, verify=site.tls, trust_env=False) as http,
            publishing(site) as source,
        ):
            killed, stays = Watcher(), Watcher()
            await watch(site, http, killed)
            await watch(site, http, stays)
            await killed.pictures(5)
            for protocol in killed.track.transport.transport._connection._protocols:
                protocol.transport.abort()
            await stays.pictures(60)

            async def one_is_left() -> bool:
                return (await site.status()).viewers == 1

            await until(one_is_left, 20)
            await stays.pictures(5)
            await stays.pc.close()
            await killed.pc.close()
            source.paused = True
            sent = list(source.sent)
            await asyncio.sleep(0.5)
        assert (await site.status()).packets_lost == 0
    assert site.recorded == sent


async def test_a_fault_in_one_viewer_stays_there(
    site: MediaSite, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours that one viewer runs into ends that viewer, nothing else."""
    async with publishing(site) as source:
        unlucky, lucky = Watcher(), Watcher()
        with monkeypatch.context() as patch:

            async def defect(self: object, events: list[object]) -> None:
                raise RuntimeError("a defect")

            patch.setattr(_Viewer, "_catch_up", defect)
            await watch(site, http, unlucky)

            async def is_gone() -> bool:
                return (await site.status()).viewers == 0

            await until(is_gone)
        await watch(site, http, lucky)
        sent = len(source.sent)
        await lucky.pictures(30)
        assert len(source.sent) > sent
        assert await site.delivers()
        for watcher in (unlucky, lucky):
            await watcher.pc.close()


async def test_what_cannot_be_seen_is_refused_with_words(
    site: MediaSite, http: httpx.AsyncClient
) -> None:
    """A codec mismatch would be a black picture; it must be an answer instead."""
    vp8 = await Watcher(("video/vp8", "video/rtx")).offer()
    h264 = await Watcher().offer()

    async def post(offer: str, headers: dict[str, str], stream: str = STREAM) -> tuple[int, str]:
        response = await http.post(f"/whep/{stream}", content=offer, headers=headers)
        return response.status_code, response.text

    assert (await post(h264, site.grant()))[0] == 404
    async with publishing(site):
        code, text = await post(vp8, site.grant())
        assert (code, "h264" in text) == (406, True)
        assert (await post(h264.replace("recvonly", "inactive"), site.grant()))[0] == 400
        assert (await post(h264, {"Content-Type": "application/sdp"}))[0] == 401
        assert (await post(h264, site.grant("replay")))[0] == 403
        assert (await post(h264, site.grant(streams=("cam-08.main",))))[0] == 403
        plain = site.grant() | {"Content-Type": "application/json"}
        assert (await post(h264, plain))[0] == 415


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs the browser of the system")
@pytest.mark.parametrize(("profile", "audio"), [("baseline", False), ("high", True)])
async def test_chromium_shows_a_moving_picture(
    site: MediaSite, http: httpx.AsyncClient, profile: str, audio: bool
) -> None:
    """The bar in the picture moves in a real browser, for the profiles real cameras send."""
    async with (
        publishing(site, profile=profile, width=640, audio=audio),
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            page = await browser.new_page()
            await page.set_content('<video id="video" autoplay muted playsinline></video>')
            await until(lambda: _has_audio(site, expected=audio))
            offer = await page.evaluate(OFFER, audio)
            response = await http.post(f"/whep/{STREAM}", content=offer, headers=site.grant())
            assert response.status_code == 201, response.text
            await page.evaluate(ANSWER, response.text)
            seen: set[int] = set()

            async def moves() -> bool:
                at = int(await page.evaluate(BAR))
                if at >= 0:
                    seen.add(at)
                return len(seen) >= 5

            await until(moves, 20)
            figures = await _decoded(page, audio_packets=40 if audio else 0)
            assert figures["width"] == 640
            assert figures["lost"] == 0
            assert audio or figures["audio"] == 0
        finally:
            await browser.close()


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs the browser of the system")
async def test_what_chromium_publishes_is_recorded(tmp_path: Path) -> None:
    """Another sender's packets: header extensions, padding, retransmissions, its own reports."""
    async with running_site(tmp_path) as site:
        await site.control.expect([STREAM])
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=CHROMIUM_FLAGS
            )
            try:
                page = await browser.new_page()
                offer = await page.evaluate(PUBLISH)
                _, answer = await site.control.publish(STREAM, DEVICE, offer)
                await page.evaluate(ANSWER, answer)
                await until(site.delivers, 15)

                async def flows() -> bool:
                    return (await site.status()).frames_per_second > 10

                await until(flows, 15)
                status = await site.status()
                assert (status.width, status.packets_lost) == (320, 0)
                assert status.clock_offset_ms is not None
                assert abs(status.clock_offset_ms) < 1000
            finally:
                await browser.close()
    assert len(site.recorded) > 20


async def _has_audio(site: MediaSite, *, expected: bool) -> bool:
    return ((await site.status()).audio == "pcma") == expected


async def _decoded(page: Page, *, audio_packets: int) -> dict[str, int]:
    async def figures() -> dict[str, int] | None:
        now: dict[str, int] = await page.evaluate(FIGURES)
        enough = now["decoded"] > 20 and now["audio"] >= audio_packets
        return now if enough else None

    return await until(figures, 15)
