"""What a device is and how it fares."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.wire.envelope import EventBody, WireModel

DeviceClass = Literal["camera", "fingerprint_terminal", "agent"]
Health = Literal["online", "degraded", "offline"]

HealthCause = Literal[
    "ok",
    "starting",
    "stopped",
    "connection_lost",
    "unreachable",
    "bad_credentials",
    "unsupported_codec",
    "no_key_frames",
    "no_media",
    "protocol_garbage",
    "clock_wrong",
    "gateway_unreachable",
    "gateway_refused",
    "spool_full",
    "disk_full",
    "internal_error",
]


class DeviceDesc(WireModel):
    """Retained description, published when a session begins."""

    v: Literal[1] = 1
    device: str
    device_class: DeviceClass
    maker: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    profile: str = ""
    agent: str = ""
    streams: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    certificate: str
    """PEM of the device's certificate, against which its envelopes are checked."""


class DeviceState(WireModel):
    """Retained state; the will carries ``offline`` / ``connection_lost`` with the same boot id."""

    v: Literal[1] = 1
    health: Health
    cause: HealthCause
    detail: Annotated[str, Field(max_length=500)] = ""
    """One line for an operator: what, where, what to do. zh-CN."""
    boot: str
    at_ns: int
    """When this state began. A will repeats the session's start, so receivers stamp it anew."""
    spool_pending: int = 0
    clock_offset_ms: int | None = None


class ClockMeasured(EventBody):
    """Body of ``up/clock``: the device's own clock minus the agent's."""

    TYPE: ClassVar[str] = "clock.measured"
    offset_ms: int
    round_trip_ms: int
    error_ms: int | None = None
    """How wrong `offset_ms` may be (±); None from agents that did not state it."""
