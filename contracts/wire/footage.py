"""Footage: what is recorded, what is missing and why, and how it is bound to steps of a case."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.wire.envelope import Statement, WireModel

GapCause = Literal[
    "camera_unreachable",
    "no_media",
    "agent_disconnected",
    "packet_loss",
    "gateway_stopped",
    "gateway_crashed",
    "disk_full",
    "disk_error",
    "recorder_behind",
    "not_started",
]


class Span(WireModel):
    """Half-open interval of wall time, nanoseconds."""

    from_ns: int
    to_ns: int


class Gap(WireModel):
    """Footage that should exist and does not. `to_ns` is None while it lasts."""

    from_ns: int
    to_ns: int | None
    cause: GapCause
    detail: str = ""


class StreamCoverage(WireModel):
    """How much of a wanted interval one stream holds."""

    stream: str
    device: str
    recorded: Annotated[tuple[Span, ...], Field(max_length=10_000)]
    gaps: Annotated[tuple[Gap, ...], Field(max_length=10_000)]
    covered_permille: int
    """Floor of covered / wanted in thousandths; 1000 only when nothing is missing."""
    clock_offset_ms: int | None = None


class FootageLinkFact(Statement):
    """The footage bound to one step; stated again with a higher revision when it changes."""

    KIND: ClassVar[str] = "footage_link"
    step: str
    case: str
    place: str
    revision: int
    from_ns: int
    to_ns: int
    """The step's own interval; while it runs, up to the moment of the revision."""
    pre_roll_ms: int
    post_roll_ms: int
    final: bool
    """True when the step has ended and its post-roll has passed."""
    streams: tuple[StreamCoverage, ...]
    covered_permille: int
    """Share of the step's own interval that at least one stream holds, floored, in thousandths."""


class Timeline(WireModel):
    """Answer of the gateway about one stream and one interval."""

    stream: str
    from_ns: int
    to_ns: int
    recorded: tuple[Span, ...]
    gaps: tuple[Gap, ...]
    codec: str | None
    """RFC 6381 string, e.g. ``avc1.4d0028``; None when nothing is recorded."""
    width: int | None = None
    height: int | None = None
    clock_offset_ms: int | None = None
