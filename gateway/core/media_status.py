"""What the media process says of itself and of each stream."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

RecorderState = Literal["off", "recording", "restarting"]
"""``recording`` means at work: it may well wait for a source that is down."""


class StreamStatus(BaseModel):
    """One stream now. Rates are of the last two seconds.

    Attributes:
        stream: its id.
        source: whether media comes; see `gateway.core.source_state`.
        cause: why not, while it does not (a `GapCause`), with the device's own words.
        session: the publisher's session, if one is agreed.
        codec: of the video track of this session.
        audio: codec of its audio track.
        packets_lost: since the stream was first known here.
        clock_offset_ms: the capture times' clock minus ours, transport included.
        last_unit_at: wall time of the last unit's arrival.
        buffered_bytes: held for readers now.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stream: str
    source: Literal["not_started", "delivering", "silent", "down"]
    cause: str | None = None
    detail: str = ""
    session: str | None = None
    expected: bool = False
    codec: str | None = None
    audio: str | None = None
    width: int = 0
    height: int = 0
    bits_per_second: int = 0
    frames_per_second: float = 0.0
    packets_lost: int = 0
    viewers: int = 0
    clock_offset_ms: int | None = None
    recorder: RecorderState = "off"
    last_unit_at: int | None = None
    buffered_bytes: int = 0


class VolumeFault(BaseModel):
    """A volume that does not take footage now (`cause` is a `GapCause`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    volume: str
    cause: str
    detail: str = ""


class MediaStatus(BaseModel):
    """The media process now."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    streams: Annotated[tuple[StreamStatus, ...], Field(max_length=10_000)] = ()
    faults: tuple[VolumeFault, ...] = ()
