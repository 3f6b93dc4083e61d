"""Which footage a registered reason opens."""

from dataclasses import dataclass

from central.domain.cases import Case
from central.domain.register import Device
from contracts.ids import stream_id

NS = 1_000_000_000
ROLL_NS = 10 * NS
"""Footage before and after a step that is bound to it; as in `contracts.wire.orders.StepOrder`."""
OPEN_FOR_NS = 2 * 3600 * NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The places and the half-open range whose footage may be seen."""

    places: frozenset[str]
    from_ns: int
    to_ns: int


def opened_by(case: Case, step: int | None, *, until_ns: int) -> Opened | None:
    """What a retrieval of a case, or of one step, opens; None when nothing has begun.

    Args:
        case: the case.
        step: number of a step, or None for all that have begun.
        until_ns: end of the range while a step still runs (the retrieval's own end).
    """
    steps = [
        item
        for item in case.steps
        if item.started_ns is not None and (step is None or item.seq == step)
    ]
    if not steps:
        return None
    starts = [item.started_ns for item in steps if item.started_ns is not None]
    ends = [until_ns if item.ended_ns is None else item.ended_ns + ROLL_NS for item in steps]
    places = {item.place for item in steps if item.place is not None}
    return Opened(places=frozenset(places), from_ns=min(starts) - ROLL_NS, to_ns=max(ends))


def streams_at(devices: list[Device], places: frozenset[str]) -> tuple[str, ...]:
    """The streams of the cameras that cover the places, main streams first."""
    cameras = [item for item in devices if item.place in places and item.device_class == "camera"]
    mains = [stream_id(item.id, item.streams[0]) for item in cameras if item.streams]
    others = [stream_id(item.id, name) for item in cameras for name in item.streams[1:]]
    return (*mains, *others)


def clip(span: tuple[int, int], bounds: tuple[int, int]) -> tuple[int, int] | None:
    """The part of a half-open interval inside the bounds; None when there is none."""
    start, end = max(span[0], bounds[0]), min(span[1], bounds[1])
    return (start, end) if start < end else None
