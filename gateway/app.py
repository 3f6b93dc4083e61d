"""The composition root of the gateway: builds every part and keeps it running.

Recording is not here: the media process does it, and goes on whatever happens in this one. What is
here decides, links and serves. Each part runs in a task of its own that is started again when it
fails; the only things that end the program are SIGTERM and an address it cannot have.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from contracts.backoff import Backoff
from contracts.clock import Clock, SystemClock
from contracts.errors import InvalidInput, MingjingError, ProtocolError, Unavailable
from contracts.ids import split_stream_id
from contracts.signing import load_certificate
from contracts.timestamps import WallTime
from gateway.adapters.broker import BrokerOptions, NatsBroker
from gateway.adapters.child_process import ChildOptions, ChildProcess
from gateway.adapters.footage.reader import FootageVolume
from gateway.adapters.footage_volumes import FootageVolumes
from gateway.adapters.media_control import SOCKET_NAME, MediaControl
from gateway.adapters.state_store import StateStore
from gateway.api.auth import GrantChecker
from gateway.api.playback import playback_router
from gateway.api.rtc import PublisherChecker, rtc_router
from gateway.api.status import PartReport, StatusReport, VolumeReport, status_router
from gateway.config import GatewayConfig
from gateway.core.detector_lines import (
    Detection,
    DetectorHealth,
    parse_from_detector,
    watch_line,
)
from gateway.core.liveness import Condition
from gateway.services.device_registry import DeviceRegistry
from gateway.services.event_intake import EventIntake
from gateway.services.forwarder import Forwarder
from gateway.services.linker import Linker
from gateway.services.media_keeper import MediaKeeper
from gateway.services.order_intake import OrderIntake
from gateway.services.presence_keeper import PresenceKeeper

_RETRY = Backoff(first_s=0.5, most_s=15.0)
_LAST_REQUESTS_S = 2
_CANCEL_AGAIN_S = 1.0
_CHILD = "_child"
"""How the names of the parts end that run a child process."""
_DETECTOR_STARTS = DetectorHealth(health="starting")
_DETECTOR_OFF = DetectorHealth(health="off", detail="配置中已关闭 (switched off in the settings)")

_log = structlog.get_logger()


class Gateway:
    """Every part of one gateway, built and wired, not yet running."""

    def __init__(self, config: GatewayConfig, *, clock: Clock) -> None:
        """Build everything.

        Raises:
            InvalidInput: a certificate or key cannot be read (named).
            Unavailable: the state database cannot be opened.
        """
        self.config = config
        self._clock = clock
        ca = load_certificate(_read(config.ca, "ca"))
        central = load_certificate(_read(config.central_certificate, "central_certificate"))
        self.store = StateStore(config.data / "state.db")
        self.broker = NatsBroker(
            BrokerOptions(
                url=config.broker.url,
                site=config.site,
                reader=f"gateway-{self.store.identity:08x}",
                tls=_broker_tls(config),
            ),
            clock=clock,
            random=_draw,
        )
        self.media = MediaControl(config.data / SOCKET_NAME)
        self.footage = FootageVolumes([FootageVolume(v) for v in config.media.volumes])
        self.media_child = self._child("media")
        self.detector_child = self._child("detector", on_line=self._from_detector)
        self.detector = (
            DetectorHealth(health="starting") if config.detector.enabled else _DETECTOR_OFF
        )
        self.presence = PresenceKeeper(
            clock=clock,
            store=self.store,
            model="yunet",
            watch=lambda streams: self.detector_child.stand(watch_line(streams)),
        )
        self.registry = DeviceRegistry(
            clock=clock,
            broker=self.broker,
            store=self.store,
            causes=self.media,
            listen=self._condition_changed,
        )
        self.media_keeper = MediaKeeper(
            clock=clock,
            media=self.media,
            register=self.store,
            started_anew=self.registry.forget_causes,
        )
        self.linker = Linker(clock=clock, store=self.store, footage=self.footage)
        self.events = EventIntake(
            site=config.site,
            ca=ca,
            clock=clock,
            broker=self.broker,
            store=self.store,
            watch=self.registry,
        )
        self.orders = OrderIntake(site=config.site, store=self.store, changed=self.linker.wake)
        self.forwarder = Forwarder(broker=self.broker, outbox=self.store, clock=clock)
        self.grants = GrantChecker(site=config.site, central=central, clock=clock)
        self.publishers = PublisherChecker(
            site=config.site, ca=ca, clock=clock, is_registered=self._is_registered
        )

    def web(self) -> FastAPI:
        """The HTTP application. No interactive documentation: deny by default."""
        web = FastAPI(title="Mingjing gateway", docs_url=None, redoc_url=None, openapi_url=None)
        web.include_router(
            rtc_router(media=self.media, publishers=self.publishers, grants=self.grants)
        )
        web.include_router(playback_router(self.footage, self.grants))
        web.include_router(status_router(self.report, self.grants))
        return web

    def parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Everything that runs for as long as the gateway does, by name."""
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "broker": self.broker.run,
            "states": lambda: self.broker.consume("state", self.registry.handle),
            "events": lambda: self.broker.consume("up", self.events.handle),
            "orders": lambda: self.broker.consume("orders", self.orders.handle),
            "registry": self.registry.run,
            "forwarder": self.forwarder.run,
            "linker": self.linker.run,
            "presence": self.presence.run,
            "media_child": self.media_child.run,
            "media_keeper": self.media_keeper.run,
        }
        if self.config.detector.enabled:
            parts["detector_child"] = self.detector_child.run
        return parts

    async def report(self) -> StatusReport:
        """How everything fares now."""
        site = await self.store.site()
        media = self.media_keeper.status
        parts = {
            "broker": PartReport(
                health="online" if self.broker.connected else "offline",
                detail="" if self.broker.connected else f"连不上 {self.config.broker.url}",
            ),
            "media": PartReport(
                health="offline" if media is None else "degraded" if media.faults else "online",
                detail="; ".join(f.detail for f in media.faults) if media else "媒体进程没有应答",
                starts=self.media_child.starts,
            ),
            "detector": PartReport(
                health=self.detector.health,
                detail=self.detector.detail,
                starts=self.detector_child.starts,
            ),
        }
        well = all(p.health in {"online", "off"} for p in parts.values())
        return StatusReport(
            site=self.config.site,
            at_ns=self._clock.now(),
            health="online" if well else "degraded",
            **parts,
            register_version=site.version if site else None,
            counts=await self.store.counts(),
            volumes=tuple(await asyncio.to_thread(self._volumes)),
            streams=media,
            devices={
                device: PartReport(health=c.health, detail=c.detail or c.cause)
                for device, c in self.registry.conditions().items()
            },
        )

    def _volumes(self) -> list[VolumeReport]:
        reports = []
        for volume in self.config.media.volumes:
            with contextlib.suppress(OSError):  # not there: the media process says why
                usage = shutil.disk_usage(volume)
                reports.append(
                    VolumeReport(path=str(volume), free_bytes=usage.free, total_bytes=usage.total)
                )
        return reports

    def _child(self, role: str, *, on_line: Callable[[bytes], None] | None = None) -> ChildProcess:
        argv = [sys.executable, "-m", "gateway", role, "--config", str(self.config.source)]
        return ChildProcess(
            ChildOptions(
                name=role,
                argv=[*argv, "--parent", str(os.getpid())],
                takes_lines=on_line is not None,
            ),
            clock=self._clock,
            random=_draw,
            on_line=on_line,
        )

    def _from_detector(self, line: bytes) -> None:
        try:
            told = parse_from_detector(line)
        except ProtocolError as exc:
            _log.warning("detector_line_unreadable", reason=str(exc))
            return
        match told:
            case Detection():
                self.presence.saw(told)
            case DetectorHealth():
                if told.health == "degraded":
                    _log.warning("detector_degraded", detail=told.detail)
                    self.presence.blind(told.detail)
                elif told.health == "online":
                    self.presence.blind("")
                self.detector = told

    def _condition_changed(self, device: str, condition: Condition, at: WallTime) -> None:
        self.presence.device_condition(device, condition, at)
        self.linker.wake()

    async def _is_registered(self, device: str, stream: str) -> bool:
        site = await self.store.site()
        _, name = split_stream_id(stream)
        return any(d.id == device and name in d.streams for d in (site.devices if site else ()))


class _Server(uvicorn.Server):
    """Signals are ours: the order of the end matters."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


async def serve(config: GatewayConfig, *, clock: Clock, stop: asyncio.Event) -> None:
    """Run a gateway until `stop` is set.

    Raises:
        InvalidInput: a certificate or key cannot be read.
        Unavailable: the address is taken, or the state database cannot be opened.
    """
    config.data.mkdir(parents=True, exist_ok=True)
    with _listen(config) as listening:
        gateway = Gateway(config, clock=clock)
        server = _Server(
            uvicorn.Config(
                gateway.web(),
                ssl_certfile=config.certificate,
                ssl_keyfile=config.key,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_LAST_REQUESTS_S,
            )
        )
        _log.info("gateway_listening", host=config.host, port=listening.getsockname()[1])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_kept(name, run, clock, stop), name=name)
                    for name, run in gateway.parts().items()
                ]
                group.create_task(server.serve(sockets=[listening]), name="web")
                await stop.wait()
                server.should_exit = True
                await end(tasks)
        finally:
            await gateway.store.close()
    _log.info("gateway_stopped")


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until all have ended.

    Once is not enough: a library that is itself ending a connection can lose a cancellation, and
    the part would go on until the whole program is killed. Those that run a child are told once:
    they are busy with its orderly stop, which a second time would cut short.
    """
    pending = set(tasks)
    for task in pending:
        task.cancel()
    while pending:
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
        for task in pending:
            if not task.get_name().endswith(_CHILD):
                task.cancel()


async def _kept(
    name: str, run: Callable[[], Awaitable[None]], clock: Clock, stop: asyncio.Event
) -> None:
    """Run a part; start it again when it fails, so that one fault does not end the others."""
    failures = 0
    while True:
        try:
            await run()
        except Exception:  # noqa: BLE001 - the supervisor: logged whole, and the part starts again
            _log.exception("part_failed", part=name)
        if stop.is_set():
            return
        await clock.sleep(_RETRY.delay(failures, random=_draw()))
        failures += 1


def _draw() -> float:
    """Jitter of retries, nothing secret."""
    return random.random()  # noqa: S311 - jitter needs no cryptography


def _listen(config: GatewayConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.host, config.port))
        listening.listen(256)
    except OSError as exc:
        listening.close()
        raise Unavailable(
            f"listen = {config.listen}: 无法监听 ({exc.strerror})，"
            "请停止占用端口的程序或改 listen / "
            "cannot listen; stop what holds the port, or change it"
        ) from exc
    return listening


def _read(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InvalidInput(f"{path}: 读不到 (cannot be read): {exc.strerror}", field=field) from exc


def _broker_tls(config: GatewayConfig) -> ssl.SSLContext | None:
    try:
        context = ssl.create_default_context(cafile=config.ca)
        context.load_cert_chain(config.certificate, config.key)
    except (OSError, ssl.SSLError) as exc:
        raise InvalidInput(f"证书或密钥不可用 (unusable): {exc}", field="certificate") from exc
    return context if config.broker.url.startswith("tls://") else None


async def _run(config: GatewayConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, clock=SystemClock(), stop=stop)


def main(config: GatewayConfig) -> int:
    """Run until SIGTERM; 1 when something that cannot be done without is not there."""
    try:
        uvloop.run(_run(config))
    except MingjingError as exc:
        sys.stderr.write(f"gateway: {exc}\n")
        return 1
    return 0
