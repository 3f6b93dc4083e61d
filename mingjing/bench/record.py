"""``mingjing bench record``: what recording costs, beside ``ffmpeg -c copy`` on the same camera.

Our path is the whole one: agent (RTSP in, WebRTC out) and gateway (WebRTC in, indexed fMP4 out,
with TLS, hashes and index). The peer takes the same RTSP streams of the same simulator to segment
files, a process for each camera. Both run for the same time, one after the other, in one run.
Only CPU time and memory of the processes compared are counted, not the simulator's.
"""

import asyncio
import shutil
import ssl
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats
import psutil

from contracts.clock import SystemClock
from contracts.errors import Unavailable
from contracts.ids import stream_id
from contracts.signing import PemSigner
from contracts.timestamps import NS
from contracts.tokens import Grant, issue
from contracts.wire import topics
from contracts.wire.footage import Timeline
from contracts.wire.orders import DeviceEntry, SiteOrder
from mingjing.bench.report import Measure, as_json, compared, plain, result, table
from mingjing.ca import SiteCa, write_private
from mingjing.engines.nats import NatsOptions, NatsServer
from mingjing.engines.ports import ephemeral
from mingjing.engines.process import ChildProcess, ProcessSpec
from mingjing.provision import CAMERA_PROFILE
from mingjing.toml_text import toml_text

_HOST = "127.0.0.1"
_SITE = "bench"
_READY_S = 90.0
_SETTLE_S = 5.0
_POLL_S = 0.5
_PEER = "ffmpeg -c copy"
_VIDEO = ("--width", "1920", "--height", "1080", "--fps", "25", "--kbps", "4000", "--gop", "50")

GATEWAY_CPU_GOAL = 1.5
"""Gateway over WebRTC: at most this many times the peer's CPU (DESIGN.md, section 7)."""
AGENT_CPU_GOAL = 2.5
"""Agent: at most this many percent of a core for each camera."""
MEMORY_GOAL_MB = 8.0
"""At most so much more resident memory for each camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """How many cameras, how long."""

    cameras: int = 4
    seconds: float = 30.0
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What some processes used over an interval: percent of one core, and resident megabytes."""

    cpu_percent: float
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our processes. `media_without_mb`: memory of the media process without any camera."""

    agent: Usage
    media: Usage
    app: Usage
    media_without_mb: float


def run(options: RecordOptions) -> int:
    """Measure and print; 0 when nothing was lost, whatever the ratios are."""
    found = asyncio.run(_Bench(options).run())
    print(as_json(found) if options.as_json else table(found))
    return 0


class _Bench:
    def __init__(self, options: RecordOptions) -> None:
        self._options = options
        self._clock = SystemClock()
        self._devices = [f"cam-{number:02}" for number in range(1, options.cameras + 1)]
        self._folder = Path(tempfile.mkdtemp(prefix="mingjing-bench-"))
        self._camera_port = ephemeral()
        self._gateway_port = ephemeral()
        self._mqtt_port = ephemeral()
        self._broker_port = ephemeral()
        self._covered: dict[str, int] = {}

    async def run(self) -> dict[str, Any]:
        if shutil.which("ffmpeg") is None:
            raise Unavailable("ffmpeg is the peer of this benchmark; install it (make setup)")
        try:
            async with AsyncExitStack() as stack:
                await self._start(stack, "camera", self._camera_argv())
                ours = await self._measure_ours()
                peer = await self._measure_peer()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        measures = self._measures(ours, peer)
        return result(
            "record",
            measures,
            now=self._clock.now(),
            cameras=self._options.cameras,
            seconds=self._options.seconds,
            input="H.264 1920x1080, 25 frames/s, 4 Mb/s, PCMA",
            covered_permille=self._covered,
        )

    async def _measure_ours(self) -> Ours:
        """Each process of ours over the window, and the media process without any camera."""
        async with AsyncExitStack() as ours:
            await self._start_broker(ours)
            gateway = await self._start(
                ours, "gateway", ["-m", "gateway", "--config", str(self._folder / "gateway.toml")]
            )
            await gateway.wait_ready(self._gateway_answers, seconds=_READY_S)
            await self._register_cameras()
            await asyncio.sleep(_SETTLE_S)
            app, media = _app_and_media(gateway)
            base = _memory_mb(media)
            agent = await self._start(
                ours, "agent", ["-m", "edge_agent", "--config", str(self._folder / "agent.toml")]
            )
            await agent.wait_ready(self._all_recorded, seconds=_READY_S)
            await asyncio.sleep(_SETTLE_S)
            began = self._clock.now()
            used = await self._usage([_family(agent), media, app])
            self._covered = await self._coverage(began, self._clock.now())
        return Ours(agent=used[0], media=used[1], app=used[2], media_without_mb=base)

    async def _measure_peer(self) -> Usage:
        async with AsyncExitStack() as stack:
            children = []
            for device in self._devices:
                folder = self._folder / "peer" / device
                folder.mkdir(parents=True)
                argv = self._peer_argv(device, folder)
                children.append(
                    await self._start(stack, f"ffmpeg-{device}", argv, program="ffmpeg")
                )
            await asyncio.sleep(2 * _SETTLE_S)
            ended = [child for child in children if not child.is_running]
            if ended:
                raise Unavailable(f"the peer ended: {ended[0].tail()}")
            family = [process for child in children for process in _family(child)]
            return (await self._usage([family]))[0]

    async def _usage(self, families: Sequence[Sequence[psutil.Process]]) -> list[Usage]:
        before = [_cpu_seconds(family) for family in families]
        began = self._clock.monotonic_ns()
        await asyncio.sleep(self._options.seconds)
        seconds = (self._clock.monotonic_ns() - began) / NS
        return [
            Usage(
                cpu_percent=(_cpu_seconds(family) - start) / seconds * 100,
                memory_mb=_memory_mb(family),
            )
            for family, start in zip(families, before, strict=True)
        ]

    def _measures(self, ours: Ours, peer: Usage) -> list[Measure]:
        count = self._options.cameras
        agent, media, app = ours.agent, ours.media, ours.app
        more = (media.memory_mb - ours.media_without_mb) / count
        return [
            compared(
                "media process CPU per camera",
                media.cpu_percent / count,
                "% of a core",
                peer=_PEER,
                peer_value=peer.cpu_percent / count,
                goal=GATEWAY_CPU_GOAL,
            ),
            plain(
                "agent CPU per camera",
                agent.cpu_percent / count,
                "% of a core",
                goal=AGENT_CPU_GOAL,
            ),
            plain("gateway app CPU, all cameras", app.cpu_percent, "% of a core"),
            plain("media process memory per further camera", more, "MB RSS", goal=MEMORY_GOAL_MB),
            plain("agent memory per camera", agent.memory_mb / count, "MB RSS"),
            plain("gateway app memory", app.memory_mb, "MB RSS"),
            compared(
                "agent, app and media memory, all cameras",
                agent.memory_mb + app.memory_mb + media.memory_mb,
                "MB RSS",
                peer=_PEER,
                peer_value=peer.memory_mb,
            ),
            plain("footage missing", 1000 - min(self._covered.values()), "‰ of the run", goal=0),
        ]

    # --- parts ---------------------------------------------------------------------------------

    async def _start(
        self,
        stack: AsyncExitStack,
        name: str,
        arguments: list[str],
        *,
        program: str = sys.executable,
    ) -> ChildProcess:
        spec = ProcessSpec(
            name=name, argv=[program, *arguments], log=self._folder / "log" / f"{name}.log"
        )
        child = ChildProcess(spec)
        await child.start()
        stack.push_async_callback(child.stop)
        return child

    async def _start_broker(self, stack: AsyncExitStack) -> None:
        folder, now = self._folder, self._clock.now()
        ca = SiteCa.open(folder / "ca", site=_SITE, now=now)
        for device in self._devices:
            ca.device(folder / "devices" / device, device, now=now)
        for program in ("gateway", "central"):
            ca.program(folder / "programs" / program, program, now=now)
        self._write_settings()
        server = NatsServer(
            NatsOptions(
                site=_SITE,
                folder=folder / "nats",
                ca=folder / "ca" / "ca.pem",
                identity=ca.program(folder / "programs" / "nats", "nats", now=now),
                devices=self._devices,
                port=self._broker_port,
                mqtt_port=self._mqtt_port,
            )
        )
        await server.start()
        stack.push_async_callback(server.stop)

    async def _register_cameras(self) -> None:
        """Tell the gateway its cameras, as central does; it records no stranger."""
        folder = self._folder / "programs" / "central"
        tls = ssl.create_default_context(cafile=self._folder / "ca" / "ca.pem")
        tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        order = SiteOrder(
            id="bench-register",
            version=1,
            site=_SITE,
            name=_SITE,
            places=(),
            persons=(),
            devices=tuple(
                DeviceEntry(
                    id=device, device_class="camera", name=device, place=None, streams=("main",)
                )
                for device in self._devices
            ),
        )
        client = await nats.connect(f"tls://{_HOST}:{self._broker_port}", tls=tls)
        try:
            stream, subjects = topics.order_stream(_SITE)
            await client.jetstream().add_stream(name=stream, subjects=subjects)
            subject = topics.subject(topics.order(_SITE, order.KIND))
            await client.jetstream().publish(subject, order.model_dump_json().encode())
        finally:
            await client.close()

    def _write_settings(self) -> None:
        gateway = {
            "site": _SITE,
            "data": "gateway",
            "listen": f"{_HOST}:{self._gateway_port}",
            "certificate": "programs/gateway/cert.pem",
            "key": "programs/gateway/key.pem",
            "ca": "ca/ca.pem",
            "central_certificate": "programs/central/cert.pem",
            "broker": {"url": f"tls://{_HOST}:{self._broker_port}"},
            "media": {"volumes": ["footage"], "ice_addresses": [_HOST]},
            "detector": {"enabled": False},
        }
        agent = {
            "site": _SITE,
            "data": "agent",
            "broker": {"host": _HOST, "port": self._mqtt_port, "ca": "ca/ca.pem"},
            "gateway": {
                "url": f"https://{_HOST}:{self._gateway_port}",
                "ca": "ca/ca.pem",
                "ice_addresses": [_HOST],
            },
            "devices": [
                {
                    "id": device,
                    "class": "camera",
                    "driver": "rtsp_camera",
                    "profile": CAMERA_PROFILE,
                    "certificate": f"devices/{device}/cert.pem",
                    "key": f"devices/{device}/key.pem",
                    "url": self._camera_url(device),
                    "stream": "main",
                }
                for device in self._devices
            ],
        }
        write_private(self._folder / "gateway.toml", toml_text(gateway).encode())
        write_private(self._folder / "agent.toml", toml_text(agent).encode())

    def _camera_url(self, device: str) -> str:
        return f"rtsp://{_HOST}:{self._camera_port}/{device}"

    def _camera_argv(self) -> list[str]:
        return [
            "-m", "mingjing.simulators.camera", "--port", str(self._camera_port),
            "--mode", "clip", *_VIDEO,
        ]  # fmt: skip

    def _peer_argv(self, device: str, folder: Path) -> list[str]:
        return [
            "-nostdin", "-hide_banner", "-loglevel", "error", "-rtsp_transport", "tcp",
            "-i", self._camera_url(device), "-c", "copy", "-f", "segment", "-segment_time", "60",
            str(folder / "%04d.mkv"),
        ]  # fmt: skip

    # --- asking the gateway --------------------------------------------------------------------

    async def _gateway_answers(self) -> bool:
        return await self._get("/healthz") is not None

    async def _all_recorded(self) -> bool:
        now = self._clock.now()
        covered = await self._coverage(now - 4 * NS, now - 2 * NS)
        return all(permille > 0 for permille in covered.values())

    async def _coverage(self, from_ns: int, to_ns: int) -> dict[str, int]:
        """Recorded share of an interval, in thousandths, by stream; the last part may be open."""
        until = to_ns - 3 * NS if to_ns - from_ns > 10 * NS else to_ns
        found: dict[str, int] = {}
        for device in self._devices:
            stream = stream_id(device, "main")
            path = f"/v1/timeline/{stream}?from_ns={from_ns}&to_ns={until}"
            answer = await self._get(path, stream)
            spans = Timeline.model_validate_json(answer).recorded if answer else ()
            held = sum(min(s.to_ns, until) - max(s.from_ns, from_ns) for s in spans)
            found[stream] = held * 1000 // (until - from_ns)
        return found

    async def _get(self, path: str, *streams: str) -> bytes | None:
        signer = PemSigner((self._folder / "programs" / "central" / "key.pem").read_bytes())
        grant = Grant(
            use="replay",
            site=_SITE,
            user="bench",
            streams=streams,
            not_after_ns=self._clock.now() + 3600 * NS,
            expires_s=self._clock.now() // NS + 60,
        )
        tls = ssl.create_default_context(cafile=self._folder / "ca" / "ca.pem")
        url = f"https://{_HOST}:{self._gateway_port}{path}"
        headers = {"Authorization": f"Bearer {issue(grant, signer)}"}
        try:
            async with httpx.AsyncClient(verify=tls, trust_env=False, timeout=10) as client:
                response = await client.get(url, headers=headers)
        except httpx.HTTPError:
            return None
        return response.content if response.is_success else None


def _family(child: ChildProcess) -> list[psutil.Process]:
    if child.pid is None:
        raise Unavailable(f"{child.spec.name} ended: {child.tail()}")
    process = psutil.Process(child.pid)
    return [process, *process.children(recursive=True)]


def _app_and_media(
    gateway: ChildProcess,
) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The gateway's own process, and the media process that it started."""
    app, *others = _family(gateway)
    media = [process for process in others if "media" in process.cmdline()]
    if not media:
        raise Unavailable(f"the gateway has no media process: {gateway.tail()}")
    return [app], media


def _cpu_seconds(family: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in family)


def _memory_mb(family: Sequence[psutil.Process]) -> float:
    return sum(process.memory_info().rss for process in family) / 1e6
