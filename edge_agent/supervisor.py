"""Keeps drivers at work and says how each device fares.

The only place with a broad `except`: a driver that fails costs its device some seconds and an entry
in the log, never the other devices.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol

import structlog

from contracts.backoff import Backoff
from contracts.clock import Clock
from contracts.errors import Unavailable
from contracts.timestamps import NS
from contracts.wire.devices import DeviceDesc, DeviceState, Health, HealthCause
from edge_agent.core.health import PartHealth, is_news, merge, part_health
from edge_agent.core.spool_policy import SpoolLimits, judge
from edge_agent.ports import HealthReporter, Spool

_STEADY_S = 60
"""A driver that worked this long has its failures forgiven."""
_SPOOL_CHECK_S = 10.0


class Runnable(Protocol):
    """Anything with a life of its own: a driver, a media sender."""

    async def run(self) -> None:
        """Work until cancelled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardOptions:
    """What is known of a device before it has spoken."""

    desc: DeviceDesc
    boot: str


class DeviceBoard:
    """One device's status out of what its parts report; fulfils the port `StatusSource`."""

    def __init__(self, options: BoardOptions, *, clock: Clock) -> None:
        self._desc = options.desc
        self._boot = options.boot
        self._clock = clock
        self._parts: dict[str, PartHealth] = {}
        self._offset_ms: int | None = None
        self._version = 1
        self._changed = asyncio.Event()
        self._log = structlog.get_logger().bind(device=options.desc.device)

    def reporter(self, part: str) -> HealthReporter:
        """Where one part states its health."""
        return _PartReporter(self, part)

    def desc(self) -> DeviceDesc:
        """What the device is."""
        return self._desc

    def state(self) -> DeviceState:
        """How it fares, without the spool's count."""
        worst = merge(self._parts.values()) or part_health(
            "degraded", "starting", "正在启动", now=self._clock.now()
        )
        return DeviceState(
            health=worst.health,
            cause=worst.cause,
            detail=worst.detail,
            boot=self._boot,
            at_ns=worst.since_ns,
            clock_offset_ms=self._offset_ms,
        )

    async def wait_changed(self, version: int) -> int:
        """Wait until something changed since `version`."""
        while self._version <= version:
            self._changed.clear()
            await self._changed.wait()
        return self._version

    def take_health(self, part: str, health: Health, cause: HealthCause, detail: str) -> None:
        """One part's statement."""
        new = part_health(health, cause, detail, now=self._clock.now())
        if is_news(self._parts.get(part), new):
            self._parts[part] = new
            level = "info" if health == "online" else "warning"
            getattr(self._log, level)("health", part=part, health=health, cause=cause, why=detail)
            self._touch()

    def take_desc(self, **fields: str) -> None:
        """What the device says it is; empty values change nothing."""
        desc = self._desc.model_copy(update={k: v for k, v in fields.items() if v})
        if desc != self._desc:
            self._desc = desc
            self._touch()

    def take_clock_offset(self, offset_ms: int) -> None:
        """The device's clock minus ours."""
        if offset_ms != self._offset_ms:
            self._offset_ms = offset_ms
            self._touch()

    def _touch(self) -> None:
        self._version += 1
        self._changed.set()


class _PartReporter:
    """Fulfils the port `HealthReporter` for one part of a device."""

    def __init__(self, board: DeviceBoard, part: str) -> None:
        self._board = board
        self._part = part

    def report(self, health: Health, cause: HealthCause, detail: str = "") -> None:
        self._board.take_health(self._part, health, cause, detail)

    def describe(
        self, *, maker: str = "", model: str = "", firmware: str = "", serial: str = ""
    ) -> None:
        self._board.take_desc(maker=maker, model=model, firmware=firmware, serial=serial)

    def clock_offset(self, offset_ms: int) -> None:
        self._board.take_clock_offset(offset_ms)


async def supervise(
    build: Callable[[], Runnable],
    health: HealthReporter,
    *,
    clock: Clock,
    random: Callable[[], float],
) -> NoReturn:
    """Run what `build` gives, and build it anew with growing pauses when it fails or ends."""
    log = structlog.get_logger()
    backoff, attempt = Backoff(first_s=1.0, most_s=60.0), 0
    while True:
        begun_ns = clock.monotonic_ns()
        try:
            await build().run()
            detail = "驱动意外结束，正在重启"
        except Exception as exc:
            log.exception("driver_failed", error=str(exc))
            detail = f"驱动出错（{type(exc).__name__}: {exc}），正在重启；反复出现请联系厂家"
        health.report("offline", "internal_error", detail)
        if clock.monotonic_ns() - begun_ns > _STEADY_S * NS:
            attempt = 0
        await clock.sleep(backoff.delay(attempt, random=random()))
        attempt += 1


async def watch_spool(
    spool: Spool, limits: SpoolLimits, health: HealthReporter, *, clock: Clock
) -> NoReturn:
    """Report how full a device's spool is, every few seconds."""
    while True:
        try:
            verdict = judge(await spool.level(), limits, now=clock.now())
            health.report(verdict.health, verdict.cause, verdict.detail)
        except Unavailable as exc:
            health.report("degraded", "disk_full", str(exc))
        await clock.sleep(_SPOOL_CHECK_S)
