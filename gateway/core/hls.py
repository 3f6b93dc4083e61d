"""Playlists over indexed parts, and which octets of a file an interval entitles to.

A segment of a playlist is a run of parts from one key frame to the next, so every segment can be
decoded alone. At holes there is ``EXT-X-DISCONTINUITY`` and a new ``EXT-X-PROGRAM-DATE-TIME``,
never ``EXT-X-GAP``: players stand still at the latter for ever. (RFC 8216; file formats in
`gateway.core.fmp4`.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.timestamps import NS_PER_MS, to_datetime

LONGEST_HOLE_INSIDE_NS = 500_000_000
"""A shorter hole within a group of pictures does not end its segment: players step over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedPart:
    """One part as the index lists it.

    Attributes:
        config_id: same number, same initialisation segment.
        run: media times of one run are comparable.
        rate: ticks per second of media times.
        init_bytes: length of the initialisation segment of its file.
    """

    file_id: int
    config_id: int
    run: int
    rate: int
    init_bytes: int
    start_ns: int
    end_ns: int
    media_start: int
    media_ticks: int
    is_key: bool
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFile:
    """One file as far as it is indexed.

    Attributes:
        size: octets that may be served; grows while the file is open.
        version: changes whenever the octets served do.
    """

    file_id: int
    name: str
    init_bytes: int
    size: int
    version: str
    parts: tuple[IndexedPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Consecutive parts of one file that begin with a key frame."""

    parts: tuple[IndexedPart, ...]

    @property
    def first(self) -> IndexedPart:
        """The part with the key frame."""
        return self.parts[0]

    @property
    def last(self) -> IndexedPart:
        """The part before the next key frame."""
        return self.parts[-1]

    @property
    def offset(self) -> int:
        """Of its first octet in the file."""
        return self.first.offset

    @property
    def length(self) -> int:
        """Octets."""
        return self.last.offset + self.last.length - self.offset

    @property
    def duration_us(self) -> int:
        """Media time from its first sample to the end of its last, in microseconds."""
        last = self.last
        ticks = last.media_start + last.media_ticks - self.first.media_start
        return ticks * 1_000_000 // last.rate

    def follows(self, other: "Segment") -> bool:
        """A player may continue from the other without a break."""
        return (
            self.first.config_id == other.last.config_id
            and self.first.run == other.last.run
            and self.first.start_ns == other.last.end_ns
        )


def segments(parts: Iterable[IndexedPart]) -> list[Segment]:
    """Group parts, given by time, into segments.

    Parts after a longer hole that do not begin with a key frame cannot be decoded; they stay out
    of playlists up to the next key frame, though they are recorded.
    """
    found: list[list[IndexedPart]] = []
    is_open = False
    for part in parts:
        if part.is_key:
            found.append([part])
            is_open = True
        elif is_open and _continues(found[-1][-1], part):
            found[-1].append(part)
        else:
            is_open = False
    return [Segment(parts=tuple(group)) for group in found]


def playlist(wanted: Sequence[Segment]) -> str:
    """Write a VOD playlist; URIs are relative: ``files/{file_id}.mp4``.

    Args:
        wanted: at least one segment, by time.
    """
    longest = max(segment.duration_us for segment in wanted)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{-(-longest // 1_000_000)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    before: Segment | None = None
    for segment in wanted:
        first = segment.first
        uri = f"files/{first.file_id}.mp4"
        if before is not None and not segment.follows(before):
            lines.append("#EXT-X-DISCONTINUITY")
        if before is None or first.config_id != before.first.config_id:
            # It holds until the next one, also across discontinuities (section 4.3.2.5).
            lines.append(f'#EXT-X-MAP:URI="{uri}",BYTERANGE="{first.init_bytes}@0"')
        lines += (
            f"#EXT-X-PROGRAM-DATE-TIME:{_date_time(first.start_ns)}",
            f"#EXTINF:{segment.duration_us / 1_000_000:.6f},",
            f"#EXT-X-BYTERANGE:{segment.length}@{segment.offset}",
            uri,
        )
        before = segment
    lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def entitled_range(file: IndexedFile, start_ns: int, end_ns: int) -> tuple[int, int]:
    """Octets [low, high) of a file which [start, end) of wall time entitles to, besides its head.

    Whole segments count, since nothing less can be decoded; parts that follow a hole without a
    key frame count alone. An empty range is (0, 0).
    """
    groups: list[list[IndexedPart]] = []
    for part in file.parts:
        if part.is_key or not groups:
            groups.append([part])
        else:
            groups[-1].append(part)
    inside = [
        group for group in groups if group[0].start_ns < end_ns and group[-1].end_ns > start_ns
    ]
    if not inside:
        return 0, 0
    low = min(group[0].offset for group in inside)
    high = max(group[-1].offset + group[-1].length for group in inside)
    return low, high


def _continues(last: IndexedPart, part: IndexedPart) -> bool:
    return (
        part.file_id == last.file_id
        and part.offset == last.offset + last.length
        and part.start_ns - last.end_ns <= LONGEST_HOLE_INSIDE_NS
    )


def _date_time(wall_ns: int) -> str:
    moment = to_datetime(wall_ns // NS_PER_MS * NS_PER_MS)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
