"""What a check of a volume compares: rows as they are stored, and what the disk says."""

from dataclasses import dataclass

from contracts.media.access_unit import Track


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedFile:
    """A file row, and the size on the disk (None when it is not there)."""

    file_id: int
    stream: str
    track: Track
    name: str
    state: str
    init: bytes
    init_sha256: str
    size: int | None
    torn_bytes: int
    size_on_disk: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedPart:
    """A part row with what its hash covers."""

    stream: str
    track: Track
    file_id: int
    sequence: int
    start_ns: int
    end_ns: int
    media_start: int
    media_ticks: int
    offset: int
    length: int
    frame_count: int
    frames: bytes
    sha256: bytes
    chain: bytes
    init_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedGap:
    """A gap row, or a recorded span (cause empty). `to_ns` is None while a gap lasts."""

    stream: str
    track: Track
    from_ns: int
    to_ns: int | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken invariant.

    Attributes:
        invariant: its number in docs/design/recording.md, e.g. ``R3``.
        where: file name, or stream and track.
        what: what was expected and what is there.
    """

    invariant: str
    where: str
    what: str
