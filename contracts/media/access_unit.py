"""One coded frame in transit, and what its decoder must know."""

from dataclasses import dataclass, field
from typing import Literal

from contracts.timestamps import MediaTime, WallTime

Codec = Literal["h264", "h265", "pcma", "pcmu", "opus", "aac"]
Track = Literal["video", "audio"]

VIDEO_CODECS: frozenset[str] = frozenset({"h264", "h265"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig:
    """Everything a decoder needs before the first access unit.

    Attributes:
        codec: what it is.
        rate: ticks of media time per second (90 000 for video, the RTP clock for audio).
        parameter_sets: H.264: SPS and PPS; H.265: VPS, SPS, PPS; AAC: AudioSpecificConfig.
        width: pixels, video only.
        height: pixels, video only.
        channels: audio only.
    """

    codec: Codec
    rate: int
    parameter_sets: tuple[bytes, ...] = ()
    width: int = 0
    height: int = 0
    channels: int = 0

    @property
    def track(self) -> Track:
        """Which track of a stream this configures."""
        return "video" if self.codec in VIDEO_CODECS else "audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessUnit:
    """One coded frame (video) or packet (audio), immutable, shared by all its readers.

    Attributes:
        config: what decodes it; a new object when parameter sets change.
        key: a decoder can start here.
        media_time: presentation time in ticks of `config.rate`, unwrapped, of this source session.
        captured_at: when the source says it was captured (a claim); None if it does not say.
        arrived_at: when its last packet reached this program (our clock).
        payload: H.264/H.265: NAL units, each behind a 4-byte big-endian length, without access unit
            delimiters; audio: the codec's frame. What the camera sent, bit for bit.
        lost_before: packets known lost between the previous access unit and this one.
    """

    config: CodecConfig
    key: bool
    media_time: MediaTime
    captured_at: WallTime | None
    arrived_at: WallTime
    payload: bytes
    lost_before: int = field(default=0)
