"""What a recorder hands to its store, in order; and the forms in which parts are indexed."""

import hashlib
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from contracts.canonical import canonical_bytes
from contracts.errors import InvalidInput
from contracts.media.access_unit import CodecConfig, Track
from contracts.timestamps import WallTime
from contracts.wire.footage import GapCause
from gateway.core.fmp4 import TRAILER_BYTES, Sample, part_trailer

FileEnd = Literal[
    "rotated", "config_changed", "session_ended", "clock_stepped", "stopped", "crashed", "disk"
]

CHAIN_GENESIS = bytes(32)
"""What the first part of a stream is chained to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """From here on this stream should be recorded; until it is, something is missing."""

    at: WallTime


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBegins:
    """The parts that follow belong into a new file.

    Attributes:
        config: of all samples in the file.
        init: the initialisation segment.
        session: of the source.
        is_new_run: media time starts anew; otherwise the file continues the one before it.
        start_ns: wall time of its first sample.
        step_ns: how far wall time jumped against the run before, when a stepped clock ended it.
    """

    config: CodecConfig
    init: bytes
    session: str
    is_new_run: bool
    start_ns: WallTime
    step_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """About a second of one track: the unit of writing, hashing, indexing and loss.

    Attributes:
        start_ns: wall time of its first sample.
        end_ns: wall time at which its last sample ends; the next part's start unless a gap follows.
        media_start: ticks of the first sample on the run's scale.
        media_ticks: sum of the samples' durations.
        is_key: begins with a key frame.
        header: ``prft``, ``moof`` and the head of ``mdat``.
        payloads: the samples.
        samples: their durations, sizes and key flags.
        clock_offset_ms: the source's clock minus ours, as it claims; None if it claims nothing.
        size: octets on the disk.
    """

    start_ns: WallTime
    end_ns: WallTime
    media_start: int
    media_ticks: int
    is_key: bool
    header: bytes
    payloads: tuple[bytes, ...]
    samples: tuple[Sample, ...]
    clock_offset_ms: int | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        size = len(self.header) + sum(sample.size for sample in self.samples) + TRAILER_BYTES
        object.__setattr__(self, "size", size)

    def octets(self) -> bytes:
        """What is written to the file."""
        octets = b"".join((self.header, *self.payloads))
        return octets + part_trailer(octets)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEnds:
    """Nothing more comes for the file."""

    reason: FileEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """From the end of what is recorded on, something is missing; `at` is when that was learnt.

    Attributes:
        supersedes: whatever was missing before, this is what is wrong from `at` on.
    """

    at: WallTime
    cause: GapCause
    detail: str = ""
    supersedes: bool = False


StoreItem = Expected | FileBegins | Part | FileEnds | Interrupted


def pack_frames(samples: Sequence[Sample]) -> bytes:
    """Pack durations (u32), sizes (u32) and the key bitmap, little endian, deflated."""
    words = array("I", [sample.duration for sample in samples])
    words.extend(sample.size for sample in samples)
    if sys.byteorder == "big":
        words.byteswap()
    bits = 0
    for index, sample in enumerate(samples):
        bits |= sample.key << index
    return zlib.compress(words.tobytes() + bits.to_bytes((len(samples) + 7) // 8, "little"), 6)


def unpack_frames(packed: bytes, count: int) -> tuple[Sample, ...]:
    """Undo `pack_frames`.

    Raises:
        InvalidInput: the octets are not those of so many frames.
    """
    try:
        flat = zlib.decompress(packed)
    except zlib.error as exc:
        raise InvalidInput("cannot be inflated", field="frames") from exc
    if len(flat) != 8 * count + (count + 7) // 8:
        raise InvalidInput(f"does not hold {count} frames", field="frames")
    words = array("I", flat[: 8 * count])
    if sys.byteorder == "big":
        words.byteswap()
    bits = int.from_bytes(flat[8 * count :], "little")
    return tuple(
        Sample(words[index], words[count + index], bool(bits >> index & 1))
        for index in range(count)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """What the chain says about one part besides its octets.

    Attributes:
        init_sha256: of the initialisation segment of its file, in hex.
        sequence: counts the parts of one track of one stream, from 1, without holes.
    """

    stream: str
    track: Track
    sequence: int
    start_ns: int
    end_ns: int
    media_start: int
    init_sha256: str


def chain(previous: bytes, part_sha256: bytes, link: ChainLink) -> bytes:
    """Next value of a stream's hash chain: SHA-256 of previous, part and header."""
    header = canonical_bytes(
        {
            "stream": link.stream,
            "track": link.track,
            "sequence": link.sequence,
            "start_ns": link.start_ns,
            "end_ns": link.end_ns,
            "media_start": link.media_start,
            "init_sha256": link.init_sha256,
        }
    )
    return hashlib.sha256(previous + part_sha256 + header).digest()
