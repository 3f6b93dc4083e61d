"""A bounded ring of one stream's events with places in it: who reads where, and what was lost.

Two kinds of places:

* *holding* (the recorder): pruning waits for it, up to a byte limit. Past that the oldest units
  go, and the place is told how many and from when to when.
* *live* (viewers, the detector): pruning never waits; one that falls behind jumps to the newest
  key frame and is told what it jumped over.

After any loss a place resumes at a key frame, because what lies between cannot be decoded.
`SourceUp` and `SourceDown` are never lost: the latest one passed over is delivered after the loss.
"""

from collections import deque
from dataclasses import dataclass

from contracts.media.access_unit import AccessUnit
from contracts.timestamps import NS, WallTime
from gateway.core.stream_events import SourceDown, SourceUp, StreamEvent, UnitsDropped

_MIB = 1 << 20
_EVENT_BYTES = 200
"""What an entry costs beside its payload; keeps a flood of empty units bounded too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingLimits:
    """Bounds of one stream's ring.

    Attributes:
        most_bytes: kept at most when nobody holds back.
        most_ns: kept at most, in time, when nobody holds back and the last key frame is younger.
        held_bytes: kept at most for a holding place.
        lag_ns: a live place further behind than this jumps to the newest key frame.
    """

    most_bytes: int = 16 * _MIB
    most_ns: int = 6 * NS
    held_bytes: int = 64 * _MIB
    lag_ns: int = 2 * NS


class UnitRing:
    """Events of one stream, numbered from 0 for ever; only the newest are kept."""

    def __init__(self, limits: RingLimits) -> None:
        self._limits = limits
        self._entries: deque[StreamEvent] = deque()
        self._base = 0
        self._bytes = 0
        self._places: list[RingPlace] = []
        self._last_key: int | None = None
        self._newest: WallTime | None = None
        self._has_video = False
        self.state: SourceUp | SourceDown | None = None

    @property
    def byte_count(self) -> int:
        """Bytes held, with a fixed allowance per entry."""
        return self._bytes

    @property
    def base(self) -> int:
        """Number of the oldest event held."""
        return self._base

    @property
    def end(self) -> int:
        """Number the next event will get."""
        return self._base + len(self._entries)

    @property
    def last_key(self) -> int | None:
        """Number of the newest key frame held since the source came up."""
        return self._last_key

    def append(self, event: StreamEvent) -> None:
        """Add an event and prune."""
        if isinstance(event, AccessUnit):
            self._newest = event.arrived_at
            self._has_video = self._has_video or event.config.track == "video"
            if self.starts_decoding(event):
                self._last_key = self.end
        elif isinstance(event, SourceUp | SourceDown):
            self.state = event
            self._last_key = None
        self._entries.append(event)
        self._bytes += _cost(event)
        self._prune()

    def starts_decoding(self, unit: AccessUnit) -> bool:
        """A reader may begin here: a video key frame, or anything of a stream without video."""
        return unit.key and (unit.config.track == "video" or not self._has_video)

    def place(self, *, holds: bool) -> "RingPlace":
        """A new reader: the source's state first, then from the newest key frame on."""
        start = self.end if self._last_key is None else self._last_key
        place = RingPlace(self, holds=holds, start=start, lag_ns=self._limits.lag_ns)
        self._places.append(place)
        return place

    def remove(self, place: "RingPlace") -> None:
        """Forget a reader, if it is known."""
        if place in self._places:
            self._places.remove(place)
            self._prune()

    def at(self, number: int) -> StreamEvent:
        """The event of that number; it must still be held."""
        return self._entries[number - self._base]

    def lags(self, number: int, lag_ns: int) -> bool:
        """Whether that event is a unit older than the newest one by more than `lag_ns`."""
        event = self.at(number)
        if self._newest is None or not isinstance(event, AccessUnit):
            return False
        return self._newest - event.arrived_at > lag_ns

    def _prune(self) -> None:
        while self._entries and self._must_prune():
            number, event = self._base, self._entries.popleft()
            self._base += 1
            self._bytes -= _cost(event)
            if self._last_key == number:
                self._last_key = None
            for place in self._places:
                place.pruned(number, event)

    def _must_prune(self) -> bool:
        if self._bytes > self._limits.held_bytes:
            return True
        if any(place.holds and place.position == self._base for place in self._places):
            return False
        return self._bytes > self._limits.most_bytes or self._is_old()

    def _is_old(self) -> bool:
        oldest = self._entries[0]
        if not isinstance(oldest, AccessUnit):
            return len(self._entries) > 1
        if self._newest is None or self._base == self._last_key:
            return False
        return self._newest - oldest.arrived_at > self._limits.most_ns


class RingPlace:
    """One reader's place. `read` gives its next event, or None when there is none yet."""

    def __init__(self, ring: UnitRing, *, holds: bool, start: int, lag_ns: int) -> None:
        self.holds = holds
        self.position = start
        self._ring = ring
        self._lag_ns = lag_ns
        self._ready: deque[StreamEvent] = deque()
        if ring.state is not None:
            self._ready.append(ring.state)
        self._lost_count = 0
        self._lost_first = WallTime(0)
        self._lost_last = WallTime(0)
        self._lost_state: SourceUp | SourceDown | None = None
        self._needs_key = not holds
        """Until a key frame, whatever states come between; a recorder begins where it may."""

    def read(self) -> StreamEvent | None:
        """The next event for this reader."""
        if self._ready:
            return self._ready.popleft()
        while self.position < self._ring.end:
            if not self.holds and self._must_jump():
                self._lose(self._ring.at(self.position))
                self.position += 1
                continue
            event = self._ring.at(self.position)
            if self._needs_key and self._is_undecodable(event):
                self._lose(event)
                self.position += 1
                continue
            if self._lost_count or self._lost_state:
                self._tell_loss()
                return self._ready.popleft()
            if isinstance(event, AccessUnit):
                self._needs_key = False
            self.position += 1
            return event
        return None

    def restart(self) -> bool:
        """Go back to the newest key frame, if one is held; the recorder never does."""
        key = self._ring.last_key
        if key is None or self.holds:
            return False
        self.position = key
        self._lost_count, self._lost_state, self._needs_key = 0, None, False
        return True

    def close(self) -> None:
        """Give the place up."""
        self._ring.remove(self)

    def pruned(self, number: int, event: StreamEvent) -> None:
        """The ring drops an event; it is lost to this reader if it had not read it."""
        if number >= self.position:
            self._lose(event)
            self.position = number + 1

    def _is_undecodable(self, event: StreamEvent) -> bool:
        return isinstance(event, AccessUnit) and not self._ring.starts_decoding(event)

    def _must_jump(self) -> bool:
        key = self._ring.last_key
        if key is None or self.position >= key:
            return False
        return self._lost_count > 0 or self._ring.lags(self.position, self._lag_ns)

    def _lose(self, event: StreamEvent) -> None:
        if isinstance(event, AccessUnit):
            self._lost_first = self._lost_first if self._lost_count else event.arrived_at
            self._lost_last = event.arrived_at
            self._lost_count += 1
            self._needs_key = True
        elif isinstance(event, SourceUp | SourceDown):
            self._lost_state = event

    def _tell_loss(self) -> None:
        if self._lost_count:
            self._ready.append(
                UnitsDropped(count=self._lost_count, first=self._lost_first, last=self._lost_last)
            )
        if self._lost_state is not None:
            self._ready.append(self._lost_state)
        self._lost_count, self._lost_state = 0, None


def _cost(event: StreamEvent) -> int:
    return _EVENT_BYTES + (len(event.payload) if isinstance(event, AccessUnit) else 0)
