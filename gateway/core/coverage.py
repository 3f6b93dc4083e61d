"""What is missing and why: gap rows of one track, and the account of an interval.

The rule that everything here keeps: from the moment a stream is first expected, every instant is
either in a recorded part or in a gap row with its cause.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from contracts.wire.footage import Gap, GapCause, Span

_VAGUE_CAUSES: frozenset[GapCause] = frozenset({"no_media"})
"""Symptoms. What the source says later replaces them for the whole gap."""

_SOURCE_CAUSES: frozenset[GapCause] = frozenset({"camera_unreachable", "agent_disconnected"})

_OUR_CAUSES: frozenset[GapCause] = frozenset({"gateway_stopped", "gateway_crashed"})
"""They end when we run again, even if nothing comes then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """One gap; `to_ns` is None while it lasts."""

    from_ns: int
    to_ns: int | None
    cause: GapCause
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChange:
    """One change of the gap table: a new row, or the row that lasts is replaced."""

    row: GapRow
    is_new: bool


class GapLedger:
    """The gaps of one track of one stream, as its parts reach the disk."""

    def __init__(self, *, recorded_to: int | None = None, lasting: GapRow | None = None) -> None:
        """Continue from what the index says: end of the last part, and the gap that lasts."""
        self._recorded_to = recorded_to
        self._lasting = lasting

    @property
    def lasting(self) -> GapRow | None:
        """The gap that has not ended."""
        return self._lasting

    @property
    def recorded_to(self) -> int | None:
        """End of the last part."""
        return self._recorded_to

    def expect(self, at: int) -> list[GapChange]:
        """The stream should be recorded from here on; says so if nothing was said yet."""
        if self._lasting is not None or self._recorded_to is not None:
            return []
        return [self._open(at, "not_started", "")]

    def interrupt(
        self, at: int, cause: GapCause, detail: str = "", *, supersedes: bool = False
    ) -> list[GapChange]:
        """Something is missing from the end of what is recorded on; `at` is when we learnt it."""
        lasting = self._lasting
        if lasting is None:
            start = self._recorded_to if self._recorded_to is not None else at
            return [self._open(start, cause, detail)]
        if lasting.cause == cause and lasting.detail == detail:
            return []
        if lasting.cause in _VAGUE_CAUSES and cause in _SOURCE_CAUSES:
            self._lasting = replace(lasting, cause=cause, detail=detail)
            return [GapChange(row=self._lasting, is_new=False)]
        if cause in _VAGUE_CAUSES and lasting.cause not in _OUR_CAUSES and not supersedes:
            return []
        ended = self._close(lasting, at)
        return [ended, self._open(ended.row.to_ns or at, cause, detail)]

    def record(self, start: int, end: int) -> list[GapChange]:
        """A part is on the disk: the gap before it ends where the part begins."""
        before = self._recorded_to
        self._recorded_to = end
        if self._lasting is not None:
            return [self._close(self._lasting, start)]
        if before is not None and start > before:
            row = GapRow(from_ns=before, to_ns=start, cause="no_media", detail="时间不连续")
            return [GapChange(row=row, is_new=True)]
        return []

    def lose(self, start: int, end: int, cause: GapCause) -> list[GapChange]:
        """What was recorded in [start, end) turned out not to be on the disk."""
        if self._lasting is None:
            self._recorded_to = start
            return [self._open(start, cause, "")]
        row = GapRow(from_ns=start, to_ns=end, cause=cause)
        return [GapChange(row=row, is_new=True)]

    def _open(self, start: int, cause: GapCause, detail: str) -> GapChange:
        self._lasting = GapRow(from_ns=start, to_ns=None, cause=cause, detail=detail)
        return GapChange(row=self._lasting, is_new=True)

    def _close(self, row: GapRow, end: int) -> GapChange:
        # A run may begin before its gap did: a camera's own buffer, or a clock set back.
        self._lasting = None
        return GapChange(row=replace(row, to_ns=max(end, row.from_ns)), is_new=False)


def merge_spans(spans: Iterable[tuple[int, int]], start: int, end: int) -> tuple[Span, ...]:
    """Cut spans to [start, end), join those that touch or overlap, in order."""
    merged: list[list[int]] = []
    for low, high in sorted(spans):
        low, high = max(low, start), min(high, end)  # noqa: PLW2901 - the cut pair is what we mean
        if low >= high:
            continue
        if merged and low <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    return tuple(Span(from_ns=low, to_ns=high) for low, high in merged)


def clip_gaps(rows: Sequence[GapRow], start: int, end: int) -> tuple[Gap, ...]:
    """Cut gap rows to [start, end); one that lasts stays open."""
    clipped = []
    for row in sorted(rows, key=lambda row: row.from_ns):
        low = max(row.from_ns, start)
        high = None if row.to_ns is None else min(row.to_ns, end)
        if low >= (end if high is None else high):
            continue
        clipped.append(Gap(from_ns=low, to_ns=high, cause=row.cause, detail=row.detail))
    return tuple(clipped)
