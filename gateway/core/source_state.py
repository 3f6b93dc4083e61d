"""Whether a stream's source delivers, and if not since when and why.

    not_started ──first unit──► delivering ──silence──► silent ──session ends──► down
                                    ▲  └────────session ends─────────────────────┘
                                    └── a unit of any session ──┘

The gateway sees silence; only the device knows why. A cause that the device reported explains the
silence it goes with, and is forgotten once units come again.
"""

from typing import Literal

from contracts.media.access_unit import AccessUnit
from contracts.timestamps import NS, WallTime
from contracts.wire.footage import GapCause
from gateway.core.stream_events import SourceDown, SourceUp

SILENCE_NS = 3 * NS
"""Longest pause between two units that is still a delivering source."""

State = Literal["not_started", "delivering", "silent", "down"]


class SourceState:
    """The state of one stream's source; each method returns what its readers must hear."""

    def __init__(self, *, now: WallTime, silence_ns: int = SILENCE_NS) -> None:
        self.state: State = "not_started"
        self.session: str | None = None
        self.down = SourceDown(at=now, cause="not_started")
        self.last_unit_at: WallTime | None = None
        self._silence_ns = silence_ns
        self._reported: tuple[GapCause, str] | None = None
        self._counts_audio = True

    def session_began(self, session: str) -> None:
        """A session was agreed; the source is up only when its first unit arrives."""
        if self.state == "delivering":
            # The old session was replaced while it delivered: its media time ends here.
            self.state = "silent"
        self.session = session

    def unit(self, unit: AccessUnit) -> SourceUp | None:
        """A unit of the present session arrived. With video, only video counts as delivery."""
        if unit.config.track == "video":
            self._counts_audio = False
        elif not self._counts_audio:
            return None
        self.last_unit_at = unit.arrived_at
        if self.state == "delivering" or self.session is None:
            return None
        self.state = "delivering"
        self._reported = None
        return SourceUp(at=unit.arrived_at, session=self.session)

    def session_ended(self, session: str, detail: str, *, now: WallTime) -> SourceDown | None:
        """A session is gone; that of one which was replaced before means nothing."""
        if session != self.session:
            return None
        self.session = None
        began = self.last_unit_at if self.state == "delivering" else None
        if self.state == "not_started":
            return None
        self.state = "down"
        return self._fall("agent_disconnected", detail, at=began or now)

    def report(self, cause: GapCause | None, detail: str, *, now: WallTime) -> SourceDown | None:
        """The device explains itself; None means it has nothing to complain of."""
        self._reported = None if cause is None else (cause, detail)
        if cause is None or self.state == "delivering" or self.down.cause == cause:
            return None
        return self._fall(cause, detail, at=now)

    def poll(self, *, now: WallTime) -> SourceDown | None:
        """Look for silence; call about once a second."""
        if self.state != "delivering" or self.last_unit_at is None:
            return None
        if now - self.last_unit_at <= self._silence_ns:
            return None
        self.state = "silent"
        return self._fall("no_media", "", at=self.last_unit_at)

    def _fall(self, cause: GapCause, detail: str, *, at: WallTime) -> SourceDown:
        if self._reported is not None:
            cause, detail = self._reported
        self.down = SourceDown(at=at, cause=cause, detail=detail)
        return self.down
