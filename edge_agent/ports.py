"""Ports of the agent: what drivers are given, and what the agent needs from the world.

A *driver* speaks to one device. It gets its validated options and a `DriverParts`; it pushes access
units into media sinks, events into the event sink, and says how the device fares. A driver's class
carries its own `Options`; the class is found by the entry-point group ``mingjing.drivers``, so that
a third party's driver and ours take the same door.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from contracts.clock import Clock
from contracts.media.access_unit import AccessUnit
from contracts.timestamps import ClockQuality, WallTime
from contracts.wire.devices import DeviceDesc, DeviceState, Health, HealthCause
from edge_agent.core.device_profile import DeviceProfile
from edge_agent.core.spool_policy import SpoolLevel


def unknown_quality() -> ClockQuality:
    """The quality of a clock about which nothing is known."""
    return ClockQuality(source="holdover")


class MediaSink(Protocol):
    """Takes the access units of one stream.

    Every call returns at once; a full sink drops whole groups of pictures and counts them, it never
    holds a driver up.
    """

    def put(self, unit: AccessUnit) -> None:
        """Pass one access unit on."""
        ...

    def source_up(self, session: str) -> None:
        """A new session with the device begins; media time starts anew. `session` is unique."""
        ...

    def source_down(self, cause: HealthCause, detail: str) -> None:
        """The session ended; no unit follows before the next `source_up`. `detail`: zh-CN."""
        ...


class EventSink(Protocol):
    """Takes the events of one device and keeps them until the gateway has them."""

    async def accept(
        self,
        event_type: str,
        event_class: str,
        *,
        body: dict[str, Any],
        observed_ns: WallTime,
        clock: ClockQuality,
        key: str | None = None,
    ) -> bool:
        """Store an event; returns only after it is durable, in the order of the calls.

        Args:
            event_type: `TYPE` of the body, becomes `Envelope.type`.
            event_class: the topic's class, e.g. ``punch``.
            body: JSON without floats.
            observed_ns: when the agent saw it.
            clock: how far `observed_ns` can be trusted.
            key: when given, at most one event with this key is ever taken.

        Returns:
            False when an event with this key was accepted before, and this one was not needed.

        Raises:
            Unavailable: the spool refuses because it is full; the device must keep the event.
        """
        ...

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        """Which of these keys were accepted before."""
        ...


class HealthReporter(Protocol):
    """Says how one part of a device fares. Reports that change nothing cost nothing."""

    def report(self, health: Health, cause: HealthCause, detail: str = "") -> None:
        """State the present health; `detail` is one zh-CN line: what, where, what to do."""
        ...

    def describe(
        self, *, maker: str = "", model: str = "", firmware: str = "", serial: str = ""
    ) -> None:
        """State what the device says it is; empty values leave what was known."""
        ...

    def clock_offset(self, offset_ms: int) -> None:
        """State the device's clock minus ours."""
        ...


class Driver(Protocol):
    """One device's driver at work."""

    async def run(self) -> None:
        """Serve the device until cancelled; reconnects by itself.

        An exception that leaves here is a fault of the driver: the supervisor reports it and starts
        a new one.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverParts:
    """What every driver is built from.

    Attributes:
        site: the site's id.
        device: the device's id.
        profile: the quirks of its model.
        media: one sink per stream name of the device (``main``, ``sub``); empty for terminals.
        events: where its events go.
        health: how it fares.
        clock: the only source of time.
        random: numbers in [0, 1), for jitter.
        clock_quality: how far `clock.now` can be trusted at present.
    """

    site: str
    device: str
    profile: DeviceProfile
    media: Mapping[str, MediaSink]
    events: EventSink
    health: HealthReporter
    clock: Clock
    random: Callable[[], float]
    clock_quality: Callable[[], ClockQuality] = unknown_quality


class DriverType(Protocol):
    """A driver's class: ``RtspCamera(options, parts)``.

    `Options` validates the device's own keys of the agent's configuration (``extra="forbid"``);
    fields typed `pathlib.Path` are resolved against the configuration file's folder. `streams`
    names the sinks wanted for these options.
    """

    Options: ClassVar[type[BaseModel]]

    def __call__(self, options: Any, parts: DriverParts) -> Driver:
        """Build a driver; opens nothing."""
        ...

    @staticmethod
    def streams(options: Any) -> tuple[str, ...]:
        """Stream names this device will feed, e.g. ``("main",)``; ``()`` for terminals."""
        ...


class Spool(EventSink, Protocol):
    """One device's durable queue of signed envelopes. Emptied only by `acknowledge`."""

    async def pending(self, *, after: int, limit: int) -> Sequence[tuple[int, str, bytes]]:
        """The next envelopes in order: (seq, event class, encoded envelope) with seq > `after`."""
        ...

    async def acknowledge(self, seq: int) -> None:
        """The gateway has everything up to and including `seq`."""
        ...

    async def wait_beyond(self, seq: int) -> int:
        """Wait until an envelope with a number above `seq` is stored; the highest number."""
        ...

    async def level(self) -> SpoolLevel:
        """How full it is."""
        ...


class StatusSource(Protocol):
    """What one device is and how it fares, all its parts together."""

    def desc(self) -> DeviceDesc:
        """What it is."""
        ...

    def state(self) -> DeviceState:
        """How it fares, without the spool's count."""
        ...

    async def wait_changed(self, version: int) -> int:
        """Wait until something changed since `version`; the new version. Begin with 0."""
        ...


class Uplink(Protocol):
    """One device's session with the site's broker."""

    async def run(self) -> None:
        """Publish until cancelled; reconnects by itself."""
        ...
