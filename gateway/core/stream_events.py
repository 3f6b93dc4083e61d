"""What a reader of a stream's buffer meets, in order."""

from dataclasses import dataclass

from contracts.media.access_unit import AccessUnit
from contracts.timestamps import WallTime
from contracts.wire.footage import GapCause


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUp:
    """A session of the source began; media time of its units starts anew."""

    at: WallTime
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDown:
    """The session ended, or its camera is known to be away; nothing comes until `SourceUp`."""

    at: WallTime
    cause: GapCause
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsDropped:
    """The reader was too slow and the buffer reached its byte limit; counted, never silent."""

    count: int
    first: WallTime
    last: WallTime


StreamEvent = AccessUnit | SourceUp | SourceDown | UnitsDropped
