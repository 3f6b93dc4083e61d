"""Reading a volume: implements `gateway.ports.FootagePlayback`.

Every call opens the index read-only and closes it again, so that it may run in any thread and
never holds back the recorder's checkpoints. Only what has a row is believed to exist.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from contracts.errors import Unavailable
from contracts.timestamps import WallTime
from contracts.wire.footage import Timeline
from gateway.adapters.footage.schema import open_for_reading
from gateway.core.coverage import GapRow, clip_gaps, merge_spans
from gateway.core.hls import IndexedFile, IndexedPart

_CHUNK_BYTES = 256 * 1024

_PARTS = (
    "SELECT parts.file_id, config_id, run, rate, init_bytes, parts.start_ns, end_ns, media_start,"
    " media_ticks, is_key, offset, length"
    " FROM parts JOIN files ON files.id = parts.file_id JOIN configs ON configs.id = config_id"
)


class FootageVolume:
    """Footage of one volume."""

    def __init__(self, volume: Path) -> None:
        self._volume = volume

    def streams(self) -> list[str]:
        """Every stream that has footage or gap rows."""
        index = open_for_reading(self._volume)
        if index is None:
            return []
        with closing(index):
            rows = index.execute("SELECT DISTINCT stream FROM streams ORDER BY stream").fetchall()
        return [row[0] for row in rows]

    def timeline(self, stream: str, start: WallTime, end: WallTime) -> Timeline:
        """Recorded spans and gaps of one stream's video track within [start, end)."""
        index = open_for_reading(self._volume)
        if index is None:
            return _empty(stream, start, end)
        with closing(index):
            index.execute("BEGIN")  # spans and gaps of one moment
            stream_id = _stream_id(index, stream)
            if stream_id is None:
                return _empty(stream, start, end)
            spans = _spans(index, stream_id, start, end)
            gaps = _gap_rows(index, stream_id, start, end)
            last = index.execute(
                "SELECT file_id, clock_offset_ms, end_ns FROM parts"
                " WHERE stream_id = ? AND start_ns < ? ORDER BY start_ns DESC LIMIT 1",
                (stream_id, end),
            ).fetchone()
            if last is not None and last[2] <= start:
                last = None
            config = index.execute(
                "SELECT codec, width, height FROM configs JOIN files ON config_id = configs.id"
                " WHERE files.id = ?",
                (last[0] if last else None,),
            ).fetchone()
        return Timeline(
            stream=stream,
            from_ns=start,
            to_ns=end,
            recorded=merge_spans(spans, start, end),
            gaps=clip_gaps(gaps, start, end),
            codec=config[0] if config else None,
            width=config[1] if config else None,
            height=config[2] if config else None,
            clock_offset_ms=last[1] if last else None,
        )

    def parts(self, stream: str, start: WallTime, end: WallTime) -> list[IndexedPart]:
        """Parts of [start, end), from the key frame at or before `start` on, by wall time."""
        index = open_for_reading(self._volume)
        if index is None:
            return []
        with closing(index):
            stream_id = _stream_id(index, stream)
            if stream_id is None:
                return []
            first = index.execute(
                "SELECT start_ns FROM parts WHERE stream_id = ? AND start_ns <= ? AND is_key"
                " ORDER BY start_ns DESC LIMIT 1",
                (stream_id, start),
            ).fetchone()
            rows = index.execute(
                f"{_PARTS} WHERE parts.stream_id = ? AND parts.start_ns >= ?"
                " AND parts.start_ns < ? ORDER BY parts.start_ns",
                (stream_id, first[0] if first else start, end),
            ).fetchall()
        return [_part(row) for row in rows]

    def file(self, stream: str, file_id: int) -> IndexedFile | None:
        """One file with its parts; None when this stream has no such file."""
        index = open_for_reading(self._volume)
        if index is None:
            return None
        with closing(index):
            stream_id = _stream_id(index, stream)
            found = index.execute(
                "SELECT name, init_bytes, hex(sha256) FROM files"
                " JOIN configs ON configs.id = config_id WHERE files.id = ? AND stream_id = ?",
                (file_id, stream_id),
            ).fetchone()
            if found is None:
                return None
            rows = index.execute(
                f"{_PARTS} WHERE parts.file_id = ? ORDER BY offset", (file_id,)
            ).fetchall()
            tip = index.execute(
                "SELECT hex(chain) FROM parts WHERE file_id = ? ORDER BY offset DESC LIMIT 1",
                (file_id,),
            ).fetchone()
        if tip is None:
            return None
        parts = tuple(_part(row) for row in rows)
        version = hashlib.sha256(f"{file_id} {found[2]} {tip[0]}".encode()).hexdigest()[:32]
        return IndexedFile(
            file_id=file_id,
            name=found[0],
            init_bytes=found[1],
            size=parts[-1].offset + parts[-1].length,
            version=version,
            parts=parts,
        )

    def read(self, file: IndexedFile, offset: int, length: int) -> Iterator[bytes]:
        """Octets of a file in chunks; the file is opened before the first one is asked for.

        Raises:
            Unavailable: the file is not there.
        """
        try:
            fd = os.open(self._volume / file.name, os.O_RDONLY)
        except OSError as exc:
            raise Unavailable(f"{file.name}: 录像文件无法打开（{exc.strerror}）") from exc
        return _chunks(fd, offset, length)


def _chunks(fd: int, offset: int, length: int) -> Iterator[bytes]:
    try:
        while length > 0:
            chunk = os.pread(fd, min(length, _CHUNK_BYTES), offset)
            if not chunk:
                raise Unavailable("录像文件比索引所记的短，请核对录像卷")
            offset += len(chunk)
            length -= len(chunk)
            yield chunk
    finally:
        os.close(fd)


def _empty(stream: str, start: WallTime, end: WallTime) -> Timeline:
    return Timeline(stream=stream, from_ns=start, to_ns=end, recorded=(), gaps=(), codec=None)


def _stream_id(index: sqlite3.Connection, stream: str) -> int | None:
    row = index.execute(
        "SELECT id FROM streams WHERE stream = ? AND track = 'video'", (stream,)
    ).fetchone()
    return int(row[0]) if row else None


def _spans(
    index: sqlite3.Connection, stream_id: int, start: int, end: int
) -> list[tuple[int, int]]:
    """Recorded spans that touch [start, end); they may overlap where a clock was set back."""
    return index.execute(
        "SELECT start_ns, end_ns FROM spans WHERE stream_id = ? AND start_ns < ? AND end_ns > ?",
        (stream_id, end, start),
    ).fetchall()


def _gap_rows(index: sqlite3.Connection, stream_id: int, start: int, end: int) -> list[GapRow]:
    rows = index.execute(
        "SELECT from_ns, to_ns, cause, detail FROM gaps"
        " WHERE stream_id = ? AND from_ns < ? AND (to_ns IS NULL OR to_ns > ?) ORDER BY from_ns",
        (stream_id, end, start),
    ).fetchall()
    return [GapRow(from_ns=row[0], to_ns=row[1], cause=row[2], detail=row[3]) for row in rows]


def _part(row: tuple[int, ...]) -> IndexedPart:
    return IndexedPart(
        file_id=row[0],
        config_id=row[1],
        run=row[2],
        rate=row[3],
        init_bytes=row[4],
        start_ns=row[5],
        end_ns=row[6],
        media_start=row[7],
        media_ticks=row[8],
        is_key=bool(row[9]),
        offset=row[10],
        length=row[11],
    )
