"""From media time to wall time: which instant of the gateway's clock a sample belongs to.

A sample cannot arrive before it was captured, and the least delayed one tells best when that was.
So the anchor of a run is the minimum over its samples of (arrival - media time elapsed). It is set
when the run begins and then only slewed, by at most 500 parts per million of the time that passes:
enough for any quartz, too little to hide a jump. Jumps are for the segmenter, which begins a new
run at them.
"""

from contracts.timestamps import NS, WallTime, ns_to_ticks, ticks_to_ns

MOST_SLEW_PPM = 500
STEP_NS = NS
"""Anything further off than this is a jump of some clock, not drift or delay."""
WINDOW_NS = 30 * NS

_MILLION = 1_000_000
_FAR = 1 << 62


class WallAnchor:
    """Wall time of one run.

    Attributes:
        rate: ticks per second.
        anchor_ns: wall time of tick 0.
    """

    __slots__ = ("_now_min", "_old_min", "_window_began", "anchor_ns", "rate")

    def __init__(self, rate: int, anchor_ns: int) -> None:
        self.rate = rate
        self.anchor_ns = anchor_ns
        self._now_min = _FAR
        self._old_min = _FAR
        self._window_began = 0

    def at(self, ticks: int) -> WallTime:
        """Wall time of a tick of this run."""
        return WallTime(self.anchor_ns + ticks_to_ns(ticks, self.rate))

    def ticks_at(self, wall: int) -> int:
        """The tick of this run at a wall time, rounded down."""
        return ns_to_ticks(wall - self.anchor_ns, self.rate)

    def observe(self, ticks: int, arrived_at: int) -> int:
        """Take an arrival into account; gives how late it was against the anchor (ns)."""
        elapsed = ticks * NS // self.rate
        origin = arrived_at - elapsed
        if elapsed - self._window_began > WINDOW_NS:
            self._old_min = self._now_min
            self._now_min = origin
            self._window_began = elapsed
        elif origin < self._now_min:
            self._now_min = origin
        return origin - self.anchor_ns

    def slew(self, passed_ticks: int) -> None:
        """Move towards the least delayed recent arrival, as far as the time passed allows."""
        target = min(self._old_min, self._now_min)
        if target == _FAR:
            return
        most = passed_ticks * NS // self.rate * MOST_SLEW_PPM // _MILLION
        self.anchor_ns += max(-most, min(most, target - self.anchor_ns))

    @property
    def is_late_throughout(self) -> bool:
        """Even the least delayed arrival of two windows is a jump behind: a clock was stepped."""
        least = min(self._old_min, self._now_min)
        return self._old_min != _FAR and least - self.anchor_ns > STEP_NS
