"""Which footage belongs to a step of a case, how much of it there is, and what is missing.

A step claims the cameras that cover its place, from a little before it started to a little after it
ended. The claim is judged against what the recorder indexed and stated as a *link*, again whenever
the judgement changes. Time that is neither recorded nor explained is never passed over in silence:
the final link turns it into a gap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.ids import stream_id
from contracts.timestamps import NS, NS_PER_MS, WallTime
from contracts.wire.footage import FootageLinkFact, Gap, Span, StreamCoverage, Timeline
from contracts.wire.orders import SiteOrder, StepOrder

ROUNDING_NS = NS_PER_MS
"""Spans closer than this are one: ticks of 90 kHz and of audio do not divide a nanosecond."""

SETTLE_NS = 60 * NS
"""How long a finished step waits for footage that is not indexed yet."""

RECONSIDER_NS = 600 * NS
"""How long after its end a final link is still judged again, for footage that comes late."""

RUNNING_NEWS_NS = 4 * NS
"""A running step's coverage is told again after this long, and then whenever it has run twice as
long: a handful of revisions, even for a step that takes all day."""

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedStep:
    """A step and the link last stated for it."""

    order: StepOrder
    link: FootageLinkFact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveringStream:
    """A stream that sees a place."""

    stream: str
    device: str


def covering_streams(site: SiteOrder | None, place: str) -> list[CoveringStream]:
    """Every stream of every camera at a place, main streams first."""
    if site is None:
        return []
    return [
        CoveringStream(stream=stream_id(device.id, name), device=device.id)
        for device in site.devices
        if device.place == place
        for name in device.streams
    ]


def merge_step(known: StepOrder | None, told: StepOrder) -> StepOrder:
    """What is known of a step after another message; a message without an end reopens nothing."""
    if known is not None and known.ended_ns is not None and told.ended_ns is None:
        return known
    return told


def wanted(order: StepOrder, *, now: WallTime) -> Interval:
    """The interval a step claims at this moment: with pre-roll, with post-roll once it ended."""
    start = order.started_ns - order.pre_roll_ms * NS_PER_MS
    end = int(now) if order.ended_ns is None else min(now, _claim_end(order))
    return start, max(start, end)


def bind(
    step: LinkedStep,
    streams: Sequence[CoveringStream],
    timelines: Mapping[str, Timeline],
    *,
    now: WallTime,
) -> FootageLinkFact:
    """Judge a step's claim.

    Args:
        step: the step with its last link, whose revision the result continues.
        streams: who covers the place.
        timelines: by stream, for the interval of `wanted`.
        now: wall time.
    """
    order = step.order
    claim = wanted(order, now=now)
    own = order.started_ns, max(order.started_ns, order.ended_ns or now)
    recorded = {s.stream: _recorded(timelines.get(s.stream), claim) for s in streams}
    gaps = {s.stream: _gaps(timelines.get(s.stream), claim) for s in streams}
    final = _is_final(order, claim, [(recorded[s.stream], gaps[s.stream]) for s in streams], now)
    coverage = []
    for covering in streams:
        spans, known = recorded[covering.stream], gaps[covering.stream]
        timeline = timelines.get(covering.stream)
        coverage.append(
            StreamCoverage(
                stream=covering.stream,
                device=covering.device,
                recorded=tuple(Span(from_ns=a, to_ns=b) for a, b in spans),
                gaps=tuple(_with_unexplained(spans, known, claim) if final else known),
                covered_permille=permille(spans, claim),
                clock_offset_ms=timeline.clock_offset_ms if timeline else None,
            )
        )
    return FootageLinkFact(
        step=order.step,
        case=order.case,
        place=order.place,
        revision=1 + (step.link.revision if step.link else 0),
        from_ns=own[0],
        to_ns=own[1],
        pre_roll_ms=order.pre_roll_ms,
        post_roll_ms=order.post_roll_ms,
        final=final,
        streams=tuple(coverage),
        covered_permille=permille(union(s for spans in recorded.values() for s in spans), own),
    )


def is_news(stated: FootageLinkFact | None, judged: FootageLinkFact, order: StepOrder) -> bool:
    """Whether a new judgement says more than that time goes on."""
    if stated is None:
        return True
    if order.ended_ns is not None and order.ended_ns != stated.to_ns:
        return True
    if judged.final:
        return not stated.final or judged.streams != stated.streams
    if stated.final:
        return False  # a clock was set back; what is final is not taken back
    return _shape(judged) != _shape(stated) or _length(judged) >= max(
        RUNNING_NEWS_NS, 2 * _length(stated)
    )


def permille(spans: Iterable[Interval], within: Interval) -> int:
    """Share of an interval that spans cover: floored thousandths, 1000 only when all is there."""
    start, end = within
    if end <= start:
        return 0
    covered = sum(b - a for a, b in union(_clip(spans, within)))
    return covered * 1000 // (end - start)


def union(spans: Iterable[Interval]) -> list[Interval]:
    """Sorted, disjoint intervals; those less than a rounding error apart are joined."""
    merged: list[Interval] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + ROUNDING_NS:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def holes(spans: Iterable[Interval], within: Interval) -> list[Interval]:
    """The parts of an interval that no span covers, rounding errors aside."""
    cursor, end = within
    found = []
    for a, b in union(_clip(spans, within)):
        if a - cursor > ROUNDING_NS:
            found.append((cursor, a))
        cursor = max(cursor, b)
    if end - cursor > ROUNDING_NS:
        found.append((cursor, end))
    return found


def _claim_end(order: StepOrder) -> int:
    return (order.ended_ns or 0) + order.post_roll_ms * NS_PER_MS


def _clip(spans: Iterable[Interval], within: Interval) -> list[Interval]:
    start, end = within
    return [(max(a, start), min(b, end)) for a, b in spans if a < end and b > start]


def _recorded(timeline: Timeline | None, claim: Interval) -> list[Interval]:
    spans = timeline.recorded if timeline else ()
    return union(_clip([(s.from_ns, s.to_ns) for s in spans], claim))


def _gaps(timeline: Timeline | None, claim: Interval) -> list[Gap]:
    start, end = claim
    clipped = []
    for gap in timeline.gaps if timeline else ():
        ends = end if gap.to_ns is None else gap.to_ns
        if gap.from_ns < end and ends > start:
            lasting = gap.to_ns is None or gap.to_ns > end
            update = {
                "from_ns": max(gap.from_ns, start),
                "to_ns": None if lasting else gap.to_ns,
            }
            clipped.append(gap.model_copy(update=update))
    return sorted(clipped, key=lambda g: (g.from_ns, g.cause))


def _gap_intervals(gaps: Iterable[Gap], end: int) -> list[Interval]:
    return [(g.from_ns, end if g.to_ns is None else g.to_ns) for g in gaps]


def _is_final(
    order: StepOrder,
    claim: Interval,
    streams: Sequence[tuple[list[Interval], list[Gap]]],
    now: WallTime,
) -> bool:
    if order.ended_ns is None or now < _claim_end(order):
        return False
    if now >= _claim_end(order) + SETTLE_NS:
        return True
    return bool(streams) and all(
        not holes([*spans, *_gap_intervals(gaps, claim[1])], claim) for spans, gaps in streams
    )


def _with_unexplained(spans: list[Interval], gaps: list[Gap], claim: Interval) -> list[Gap]:
    closed = [g if g.to_ns is not None else g.model_copy(update={"to_ns": claim[1]}) for g in gaps]
    silent = holes([*spans, *_gap_intervals(gaps, claim[1])], claim)
    unexplained = [
        Gap(from_ns=a, to_ns=b, cause="not_started", detail="没有录像 (nothing was recorded)")
        for a, b in silent
    ]
    return sorted([*closed, *unexplained], key=lambda g: (g.from_ns, g.cause))


def _length(link: FootageLinkFact) -> int:
    return link.to_ns - link.from_ns


def _shape(link: FootageLinkFact) -> list[tuple[str, list[tuple[int, int | None, str]]]]:
    return [(s.stream, [(g.from_ns, g.to_ns, g.cause) for g in s.gaps]) for s in link.streams]
