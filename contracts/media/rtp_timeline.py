"""One RTP timeline over source sessions whose media time starts anew each time.

A receiver of RTP has no word for "the clock starts again": a jump back of the timestamp is taken
for a wrap, or stops the picture. So a new session continues where the last one ended, as much
later as its units arrived later.
"""

from collections.abc import Sequence

from contracts.media.access_unit import AccessUnit
from contracts.timestamps import NS, WallTime, ns_to_ticks

_MOST_PAUSE_S = 3600
"""Longer pauses are shortened: half the range of an RTP timestamp is 6.6 h at 90 kHz."""
_LEAST_STEP_S = 25
"""A new session begins at least 1/25 s after the last unit of the old one."""


class RtpTimeline:
    """Gives each unit of one track its time on the outgoing RTP clock, from 0, ever growing."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._offset: int | None = None
        self._last_ticks: int | None = None
        self._last_arrived = 0

    def restart(self) -> None:
        """The next unit belongs to a new session of the source."""
        self._offset = None

    def ticks(self, unit: AccessUnit) -> int:
        """The unit's RTP time, before the random origin is added."""
        if self._offset is None:
            self._offset = self._continuation(unit) - unit.media_time
        ticks = unit.media_time + self._offset
        self._last_ticks = ticks
        self._last_arrived = unit.arrived_at
        return ticks

    def squeeze(self, units: Sequence[AccessUnit]) -> list[int]:
        """Times of units that are sent at once, to catch up: all within one frame's time.

        A decoder then shows the last of them at once instead of playing the past at normal speed,
        which would leave the viewer behind by that much for good. The last unit gets its own time.
        """
        if not units:
            return []
        floor = self._last_ticks
        newest = units[-1]
        end = self.ticks(newest)
        room = self.rate // _LEAST_STEP_S
        if floor is not None:
            # What was sent before lies at `floor`; a repeat of the same units must lie after it.
            if end <= floor:
                end = floor + room
                self._offset = end - newest.media_time
                self._last_ticks = end
            room = min(room, end - floor)
        step = max(1, room // (len(units) + 1))
        return [end - step * back for back in range(len(units) - 1, -1, -1)]

    def _continuation(self, unit: AccessUnit) -> int:
        if self._last_ticks is None:
            return 0
        pause = ns_to_ticks(unit.arrived_at - self._last_arrived, self.rate)
        least = self.rate // _LEAST_STEP_S
        return self._last_ticks + min(max(pause, least), _MOST_PAUSE_S * self.rate)


class ArrivalClock:
    """When a unit was probably there, from arrivals alone: the least delayed one sets the pace.

    Arrivals are late by a varying amount and never early. So the smallest difference between wall
    and RTP time over the last `window_s` to twice that is the best guess; it follows a drifting
    clock, and a late burst does not move it.
    """

    def __init__(self, rate: int, *, window_s: int = 5) -> None:
        self._rate = rate
        self._window = window_s * rate
        self._began: int | None = None
        self._least: int | None = None
        self._former: int | None = None

    def restart(self) -> None:
        """A new session: nothing is known of its delays."""
        self._began = self._least = self._former = None

    def wall(self, ticks: int, arrived_at: WallTime) -> WallTime:
        """Wall time of RTP time `ticks`, which arrived just now."""
        ns = ticks * NS // self._rate
        offset = arrived_at - ns
        if self._began is None or ticks - self._began >= self._window:
            self._began, self._former, self._least = ticks, self._least, offset
        self._least = offset if self._least is None else min(self._least, offset)
        least = self._least if self._former is None else min(self._least, self._former)
        return WallTime(ns + least)
