"""How far a terminal's clock is off, from readings that show whole seconds only.

One reading bounds the offset to a second and the round trip: the terminal showed `T` at some moment
between question and answer, and its true time was then in ``[T, T + 1 s)``. The truth lies within
the bounds of every reading, hence within their intersection, which readings at different moments of
the second make narrow. Clocks drift, so the intersection is widened as time passes. A reading that
has nothing in common with it means that one of the clocks was set: what was known before is void.

The stated value stays as it is while it is about as good as the best one, so that two
punches are corrected by one value. It never moves by more than the error stated before; the first
error is half a second and half the round trip. Punches a second apart therefore keep their order
while the terminal answers within a second.
"""

from dataclasses import dataclass
from typing import Final

from contracts.timestamps import NS, NS_PER_MS
from edge_agent.core.zk_facts import ClockRead

DRIFT_PPM: Final = 100
"""What two clocks may drift apart: a cheap crystal, and a clock of ours that is being slewed."""
_PPM: Final = 1_000_000
_FINE_NS: Final = 10 * NS_PER_MS
"""A value that could be better by so little only is left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The terminal's clock minus ours lies within ``[low_ns, high_ns]``."""

    low_ns: int
    high_ns: int

    def widened(self, ns: int) -> "Bounds":
        """Further by `ns` on both sides."""
        return Bounds(low_ns=self.low_ns - ns, high_ns=self.high_ns + ns)

    def common(self, other: "Bounds") -> "Bounds | None":
        """What lies within both; None when nothing does."""
        low, high = max(self.low_ns, other.low_ns), min(self.high_ns, other.high_ns)
        return Bounds(low_ns=low, high_ns=high) if low <= high else None

    @property
    def middle_ns(self) -> int:
        """The value with the least possible error."""
        return (self.low_ns + self.high_ns) // 2

    def error_ns(self, value_ns: int) -> int:
        """How wrong `value_ns` may be at most."""
        return max(self.high_ns - value_ns, value_ns - self.low_ns)


class TerminalClock:
    """The estimate over the life of a driver; it outlives connections."""

    def __init__(self) -> None:
        """Know nothing."""
        self._bounds: Bounds | None = None
        self._at_ns = 0
        self._stated_ms = 0

    @property
    def offset_ms(self) -> int | None:
        """The terminal's clock minus ours; None before the first reading."""
        return None if self._bounds is None else self._stated_ms

    @property
    def error_ms(self) -> int | None:
        """How wrong `offset_ms` may have been at the last reading, at most (±)."""
        if self._bounds is None:
            return None
        return -(-self._bounds.error_ns(self._stated_ms * NS_PER_MS) // NS_PER_MS)

    def take(
        self, read: ClockRead, *, now: int, monotonic_ns: int, utc_offset_minutes: int
    ) -> None:
        """Take a reading.

        Args:
            read: the terminal's answer, with monotonic times of question and answer.
            now: our wall time.
            monotonic_ns: our monotonic time at `now`.
            utc_offset_minutes: the terminal's zone.
        """
        shown = read.time.wall(utc_offset_minutes=utc_offset_minutes)
        wall = now - monotonic_ns
        new = Bounds(
            low_ns=shown - (wall + read.answered_ns),
            high_ns=shown + NS - (wall + read.asked_ns),
        )
        drift = max(0, read.answered_ns - self._at_ns) * DRIFT_PPM // _PPM
        common = self._bounds.widened(drift).common(new) if self._bounds else None
        self._at_ns = read.answered_ns
        self._bounds = common or new
        self._state(anew=common is None)

    def forget(self) -> None:
        """The terminal's clock is being set: only readings from now on count."""
        self._bounds = None

    def telling_delay_ns(self, now: int) -> int:
        """How long after the wall time `now` a reading would halve the bounds; under a second.

        If the offset were the middle of the bounds, the terminal's second would turn just then:
        what it shows tells on which side of the middle the truth is.
        """
        if self._bounds is None:
            return 0
        return -(now + self._bounds.middle_ns) % NS

    def _state(self, *, anew: bool) -> None:
        bounds = self._bounds
        if bounds is None:
            return
        best = bounds.error_ns(bounds.middle_ns)
        stated_ns = self._stated_ms * NS_PER_MS
        is_good = bounds.error_ns(stated_ns) <= max(2 * best, best + _FINE_NS)
        if anew or not is_good:
            self._stated_ms = round(bounds.middle_ns / NS_PER_MS)
