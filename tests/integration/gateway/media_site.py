"""Parts for media tests: a picture source, a media process in this loop, its API over TLS."""

import asyncio
import contextlib
import fractions
import functools
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import uvicorn
from fastapi import FastAPI

from contracts.clock import SystemClock
from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.media.h264 import (
    config_from_parameter_sets,
    from_annex_b,
    is_key,
    nal_type,
    split_nals,
)
from contracts.signing import PemSigner, load_certificate
from contracts.timestamps import MediaTime, WallTime
from contracts.tokens import Grant, GrantUse, issue
from edge_agent.adapters.webrtc_sender import SenderOptions, WebrtcSender
from gateway import media_process
from gateway.adapters.media_control import MediaControl
from gateway.api.auth import GrantChecker
from gateway.api.rtc import PublisherChecker, rtc_router
from gateway.core.media_status import StreamStatus
from mingjing.ca import Identity, SiteCa
from tests.waiting import until

SITE = "demo"
DEVICE = "cam-07-front"
STREAM = "cam-07-front.main"
LOOPBACK = "127.0.0.1"
FPS = 25
PCMA = CodecConfig(codec="pcma", rate=8000, channels=1)
GOP = 25


@functools.lru_cache
def encoded(
    frames: int = 100, *, profile: str = "baseline", width: int = 320
) -> tuple[tuple[CodecConfig, bytes, bool], ...]:
    """Coded pictures with a moving bar; key frames carry their parameter sets."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = width, width * 9 // 16 // 2 * 2
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = fractions.Fraction(1, FPS)
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": profile,
        "bf": "0",
        "x264-params": f"keyint={GOP}:min-keyint={GOP}:scenecut=0:repeat-headers=1",
    }
    noise = np.random.default_rng(7)
    out = []
    config = None
    for number in range(frames):
        picture = noise.integers(0, 60, (encoder.height, encoder.width, 3), dtype=np.uint8)
        at = number * 8 % (width - 40)
        picture[:, at : at + 40] = 255
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        for packet in encoder.encode(frame):
            payload = from_annex_b(bytes(packet))
            if is_key(payload):
                config = config_from_parameter_sets(
                    n for n in split_nals(payload) if nal_type(n) in (7, 8)
                )
            assert config is not None
            out.append((config, payload, is_key(payload)))
    return tuple(out)


class Source:
    """Plays coded pictures into a sender in real time, for ever, as a camera would."""

    def __init__(
        self,
        sender: WebrtcSender,
        *,
        profile: str = "baseline",
        width: int = 320,
        audio: bool = False,
    ) -> None:
        self.sent: list[bytes] = []
        self.paused = False
        self.audio = audio
        self._sender = sender
        self._pictures = encoded(profile=profile, width=width)
        self._clock = SystemClock()

    async def run(self, count: int | None = None) -> None:
        self._sender.source_up("camera-session")
        began, began_wall = self._clock.monotonic_ns(), self._clock.now()
        number = 0
        while count is None or number < count:
            await asyncio.sleep(max(0.0, number / FPS - (self._clock.monotonic_ns() - began) / 1e9))
            config, payload, key = self._pictures[number % len(self._pictures)]
            now = self._clock.now()
            captured = WallTime(began_wall + number * 10**9 // FPS - 30_000_000)
            unit = AccessUnit(
                config=config,
                key=key,
                media_time=MediaTime(number * 90_000 // FPS),
                captured_at=captured,
                arrived_at=now,
                payload=payload,
            )
            number += 1
            if not self.paused:
                self.sent.append(payload)
                self._sender.put(unit)
                if self.audio:
                    self._put_audio(2 * number, now)

    def _put_audio(self, number: int, now: WallTime) -> None:
        """Two packets of 20 ms G.711 per picture."""
        for packet in (number, number + 1):
            self._sender.put(
                AccessUnit(
                    config=PCMA,
                    key=True,
                    media_time=MediaTime(160 * packet),
                    captured_at=WallTime(now - 30_000_000),
                    arrived_at=now,
                    payload=bytes(0xD5 ^ (packet * 7 + n) % 64 for n in range(160)),
                )
            )


@dataclass
class Health:
    """What a sender reports, in order."""

    reports: list[tuple[str, str, str]] = field(default_factory=list)

    def report(self, health: str, cause: str, detail: str = "") -> None:
        self.reports.append((health, cause, detail))

    def describe(self, **_: str) -> None: ...

    def clock_offset(self, offset_ms: int) -> None: ...


@dataclass(kw_only=True)
class MediaSite:
    """A running media process and its API."""

    folder: Path
    device: Identity
    central: Identity
    url: str = ""
    registered: set[str] = field(default_factory=lambda: {STREAM})

    @property
    def socket(self) -> Path:
        return self.folder / "media.sock"

    @property
    def control(self) -> MediaControl:
        return MediaControl(self.socket)

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.folder / "ca" / "ca.pem")

    def sender(
        self, health: Health | None = None, *, device: Identity | None = None
    ) -> WebrtcSender:
        device = device or self.device
        return WebrtcSender(
            SenderOptions(
                url=self.url,
                tls=self.tls,
                site=SITE,
                device=DEVICE,
                stream=STREAM,
                certificate=device.certificate.read_text(),
                ice_addresses=(LOOPBACK,),
            ),
            signer=PemSigner(device.key.read_bytes()),
            health=health or Health(),
            clock=SystemClock(),
            random=lambda: 0.5,
        )

    def grant(self, use: GrantUse = "live", streams: tuple[str, ...] = (STREAM,)) -> dict[str, str]:
        token = issue(
            Grant(
                use=use,
                site=SITE,
                user="zhou-zheng",
                streams=streams,
                expires_s=SystemClock().now() // 10**9 + 60,
            ),
            PemSigner(self.central.key.read_bytes()),
        )
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}

    async def delivers(self) -> bool:
        """Whether media of the stream comes."""
        return (await self.status()).source == "delivering"

    async def status(self) -> StreamStatus:
        """The stream's status; it must be known."""
        return next(s for s in (await self.control.status()).streams if s.stream == STREAM)

    @property
    def recorded(self) -> list[bytes]:
        """Video access units of all recorded files, in order."""
        payloads = []
        for file in sorted((self.folder / "footage").rglob("*.mp4")):
            with av.open(str(file)) as container:
                payloads += [bytes(p) for p in container.demux(video=0) if p.size]
        return payloads


@contextlib.asynccontextmanager
async def running_api(folder: Path) -> AsyncIterator[MediaSite]:
    """The API over TLS, for a media process that somebody else runs in this folder."""
    now = SystemClock().now()
    ca = SiteCa.open(folder / "ca", site=SITE, now=now)
    gateway = ca.program(folder / "gateway", "gateway", now=now)
    site = MediaSite(
        folder=folder,
        device=ca.device(folder / "device", DEVICE, now=now),
        central=ca.program(folder / "central", "central", now=now),
    )
    ca_certificate = load_certificate((folder / "ca" / "ca.pem").read_bytes())
    central_certificate = load_certificate(site.central.certificate.read_bytes())
    clock = SystemClock()

    async def is_registered(_device: str, stream: str) -> bool:
        return stream in site.registered

    app = FastAPI()
    app.include_router(
        rtc_router(
            media=site.control,
            publishers=PublisherChecker(
                site=SITE, ca=ca_certificate, clock=clock, is_registered=is_registered
            ),
            grants=GrantChecker(site=SITE, central=central_certificate, clock=clock),
        )
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=LOOPBACK,
            port=0,
            log_level="error",
            lifespan="off",
            ssl_certfile=str(gateway.certificate),
            ssl_keyfile=str(gateway.key),
        )
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        try:
            await until(lambda: server.started)
            port = server.servers[0].sockets[0].getsockname()[1]
            site.url = f"https://{LOOPBACK}:{port}"
            yield site
        finally:
            server.should_exit = True


@contextlib.asynccontextmanager
async def running_site(folder: Path) -> AsyncIterator[MediaSite]:
    """The API and a media process in this event loop."""
    stop = asyncio.Event()
    async with running_api(folder) as site, asyncio.TaskGroup() as group:
        group.create_task(
            media_process.serve(
                socket=site.socket,
                volumes=[folder / "footage"],
                ice_addresses=[LOOPBACK],
                clock=SystemClock(),
                stop=stop,
            )
        )
        try:
            await until(site.socket.exists)
            yield site
        finally:
            stop.set()


@contextlib.asynccontextmanager
async def publishing(
    site: MediaSite, *, profile: str = "baseline", width: int = 320, audio: bool = False
) -> AsyncIterator[Source]:
    """A camera that publishes; returns once its media arrives."""
    sender = site.sender()
    source = Source(sender, profile=profile, width=width, audio=audio)
    await site.control.expect([STREAM])
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sender.run()), group.create_task(source.run())]
        try:
            await until(site.delivers)
            yield source
        finally:
            for task in tasks:
                task.cancel()
