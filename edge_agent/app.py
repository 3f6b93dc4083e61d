"""Composition root of the agent: settings to parts to tasks.

Stops in the order in which data flows: drivers first, then media senders, then the uplinks (which
say good-bye), then the spool.
"""

import asyncio
import os
import secrets
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from random import SystemRandom
from typing import Never

import structlog

from contracts.clock import Clock, SystemClock
from contracts.errors import InvalidInput
from contracts.ids import stream_id, uuid7
from contracts.signing import PemSigner
from contracts.wire.devices import DeviceDesc
from edge_agent.adapters.clock_quality import read_clock_quality
from edge_agent.adapters.mqtt_uplink import MqttUplink, UplinkOptions
from edge_agent.adapters.sqlite_spool import DeviceSpool, SpoolFile, SpoolIdentity
from edge_agent.adapters.webrtc_sender import SenderOptions, WebrtcSender
from edge_agent.config import AgentConfig, DeviceConfig
from edge_agent.ports import Driver, DriverParts, HealthReporter
from edge_agent.supervisor import BoardOptions, DeviceBoard, Runnable, supervise, watch_spool

_STOP_S = 5.0
_random = SystemRandom().random


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What all devices of an agent share."""

    config: AgentConfig
    file: SpoolFile
    boot: str
    clock: Clock


class DeviceRuntime:
    """The parts of one device, wired."""

    def __init__(self, device: DeviceConfig, common: _Common) -> None:
        """Wire the parts; opens no connection.

        Raises:
            InvalidInput: the key file is unusable, or the driver refuses profile or options.
        """
        self._device = device
        self._common = common
        config, own = common.config, device.common
        signer = PemSigner(own.key.read_bytes())
        certificate = own.certificate.read_text()
        self.board = DeviceBoard(
            BoardOptions(desc=_desc(device, certificate), boot=common.boot), clock=common.clock
        )
        self.spool = DeviceSpool(
            common.file,
            SpoolIdentity(site=config.site, device=own.id, boot=common.boot, signer=signer),
            config.spool.limits(),
        )
        self.uplink = MqttUplink(
            UplinkOptions(
                site=config.site,
                device=own.id,
                boot=common.boot,
                host=config.broker.host,
                port=config.broker.port,
                ca=config.broker.ca,
                certificate=own.certificate,
                key=own.key,
            ),
            self.spool,
            status=self.board,
            health=self.board.reporter("uplink"),
            clock=common.clock,
            random=_random,
        )
        self.senders = {
            name: WebrtcSender(
                self._sender_options(name, certificate),
                signer=signer,
                health=self.board.reporter(f"sender.{name}"),
                clock=common.clock,
                random=_random,
            )
            for name in device.streams
        }
        self.driver()

    def driver(self) -> Driver:
        """A new driver for this device."""
        parts = DriverParts(
            site=self._common.config.site,
            device=self._device.common.id,
            profile=self._device.profile,
            media=self.senders,
            events=self.spool,
            health=self.board.reporter("driver"),
            clock=self._common.clock,
            random=_random,
            clock_quality=read_clock_quality,
        )
        return self._device.driver(self._device.options, parts)

    def _sender_options(self, name: str, certificate: str) -> SenderOptions:
        config, device = self._common.config, self._device.common.id
        if config.gateway is None:
            raise InvalidInput("音视频设备需要 [gateway]", field="gateway")
        return SenderOptions(
            url=config.gateway.url,
            tls=ssl.create_default_context(cafile=config.gateway.ca),
            site=config.site,
            device=device,
            stream=stream_id(device, name),
            certificate=certificate,
            ice_addresses=config.gateway.ice_addresses,
        )


async def run_agent(config: AgentConfig, stopping: asyncio.Event) -> None:
    """Run until `stopping` is set.

    Raises:
        InvalidInput: a device cannot be set up.
        Unavailable: the spool cannot be opened.
    """
    clock = SystemClock()
    boot = uuid7(now=clock.now(), random=secrets.token_bytes(10))
    log = structlog.get_logger()
    async with SpoolFile(config.data / "spool.sqlite3", clock=clock) as file:
        common = _Common(config=config, file=file, boot=boot, clock=clock)
        devices = [DeviceRuntime(device, common) for device in config.devices]
        async with asyncio.TaskGroup() as group:
            stages = _start(group, devices, common)
            log.info("agent_started", site=config.site, devices=len(devices), pid=os.getpid())
            await stopping.wait()
            log.info("agent_stopping")
            for stage in stages:
                await _stop(stage)
    log.info("agent_stopped")


def _start(
    group: asyncio.TaskGroup, devices: Iterable[DeviceRuntime], common: _Common
) -> list[list[asyncio.Task[Never]]]:
    """Start every task; the stages come back in the order in which they must stop."""
    drivers, senders, uplinks = [], [], []
    limits = common.config.spool.limits()

    def keep(build: Callable[[], Runnable], health: HealthReporter) -> asyncio.Task[Never]:
        return group.create_task(supervise(build, health, clock=common.clock, random=_random))

    spool = group.create_task(common.file.run())
    for device in devices:
        board = device.board
        watch = watch_spool(device.spool, limits, board.reporter("spool"), clock=common.clock)
        uplinks.append(keep(_always(device.uplink), board.reporter("uplink")))
        for name, sender in device.senders.items():
            senders.append(keep(_always(sender), board.reporter(f"sender.{name}")))
        drivers.append(keep(device.driver, board.reporter("driver")))
        drivers.append(group.create_task(watch))
    return [drivers, senders, uplinks, [spool]]


def _always(part: Runnable) -> Callable[[], Runnable]:
    """Parts that mend themselves are run again as they are, not built anew."""
    return lambda: part


async def _stop(tasks: Iterable[asyncio.Task[Never]]) -> None:
    """Cancel until all have ended: a task that fails while it is cancelled may go on otherwise."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_STOP_S)


def _desc(device: DeviceConfig, certificate: str) -> DeviceDesc:
    return DeviceDesc(
        device=device.common.id,
        device_class=device.common.device_class,
        maker=device.profile.maker,
        profile=device.profile.name,
        agent=_own_version(),
        streams=device.streams,
        certificate=certificate,
    )


def _own_version() -> str:
    try:
        return version("mingjing")
    except PackageNotFoundError:
        return "0"
