"""Rows and octets of a volume for a check of its invariants: `gateway.ports.FootageAudit`."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from contracts.errors import Unavailable
from gateway.adapters.footage.schema import INDEX_NAME, open_for_reading
from gateway.core.footage_audit import AuditedFile, AuditedGap, AuditedPart

_PARTS = (
    "SELECT stream, track, file_id, sequence, parts.start_ns, end_ns, media_start, media_ticks,"
    " offset, length, frame_count, frames, parts.sha256, chain, hex(configs.sha256)"
    " FROM parts JOIN streams ON streams.id = parts.stream_id JOIN files ON files.id = file_id"
    " JOIN configs ON configs.id = config_id"
)


class VolumeAudit:
    """Looks at one volume, read-only; it may be in use."""

    def __init__(self, volume: Path) -> None:
        """Prepare.

        Raises:
            Unavailable: the folder holds no index.
        """
        self._volume = volume
        with closing(self._open()):
            pass

    def damage(self) -> Iterator[str]:
        """What the database says of its own soundness; nothing when it is sound."""
        try:
            for (line,) in self._rows("PRAGMA quick_check"):
                if line != "ok":
                    yield line
            for table, row, other, _ in self._rows("PRAGMA foreign_key_check"):
                yield f"{table} 第 {row} 行指向 {other} 中不存在的行"
        except sqlite3.DatabaseError as exc:
            yield str(exc)

    def files(self) -> Iterator[AuditedFile]:
        """Every file row, with what the disk says of the file."""
        rows = self._rows(
            "SELECT files.id, stream, track, name, state, init, hex(sha256), size, torn_bytes"
            " FROM files JOIN streams ON streams.id = stream_id"
            " JOIN configs ON configs.id = config_id ORDER BY files.id"
        )
        for row in rows:
            try:
                size = (self._volume / row[3]).stat().st_size
            except FileNotFoundError:
                size = None
            yield AuditedFile(
                file_id=row[0],
                stream=row[1],
                track=row[2],
                name=row[3],
                state=row[4],
                init=row[5],
                init_sha256=row[6].lower(),
                size=row[7],
                torn_bytes=row[8],
                size_on_disk=size,
            )

    def parts(self, file_id: int) -> list[AuditedPart]:
        """The part rows of one file, by offset."""
        rows = self._rows(f"{_PARTS} WHERE file_id = ? ORDER BY offset", file_id)
        return [_part(row) for row in rows]

    def chain(self) -> Iterator[AuditedPart]:
        """All part rows, by stream and sequence."""
        for row in self._rows(f"{_PARTS} ORDER BY parts.stream_id, sequence"):
            yield _part(row)

    def gaps(self) -> Iterator[AuditedGap]:
        """All gap rows, by stream and start."""
        rows = self._rows(
            "SELECT stream, track, from_ns, to_ns, cause FROM gaps"
            " JOIN streams ON streams.id = stream_id ORDER BY stream_id, from_ns"
        )
        for row in rows:
            yield AuditedGap(
                stream=row[0], track=row[1], from_ns=row[2], to_ns=row[3], cause=row[4]
            )

    def spans(self) -> Iterator[AuditedGap]:
        """Recorded spans of the parts, joined where they touch, by stream; cause is empty."""
        return self._joined("parts")

    def listed_spans(self) -> Iterator[AuditedGap]:
        """The same as the index lists them for readers."""
        return self._joined("spans")

    def read(self, file: AuditedFile, offset: int, length: int) -> bytes:
        """Octets of a file; fewer when it is shorter."""
        with (self._volume / file.name).open("rb") as stream:
            return os.pread(stream.fileno(), length, offset)

    def strays(self) -> Iterator[str]:
        """Names of media files below the volume that have no row."""
        known = {row[0] for row in self._rows("SELECT name FROM files")}
        for path in sorted(self._volume.glob("*/*/*")):
            name = path.relative_to(self._volume).as_posix()
            if name not in known:
                yield name

    def _joined(self, table: str) -> Iterator[AuditedGap]:
        rows = self._rows(
            f"SELECT stream, track, start_ns, end_ns FROM {table}"  # noqa: S608 - one of two names
            " JOIN streams ON streams.id = stream_id ORDER BY stream_id, start_ns"
        )
        last: AuditedGap | None = None
        for stream, track, start, end in rows:
            if last is not None:
                to_ns = last.to_ns or 0
                if (last.stream, last.track) == (stream, track) and start <= to_ns:
                    start, end = last.from_ns, max(end, to_ns)  # noqa: PLW2901 - grows
                else:
                    yield last
            last = AuditedGap(stream=stream, track=track, from_ns=start, to_ns=end, cause="")
        if last is not None:
            yield last

    def _rows(self, sql: str, *values: object) -> Iterator[Any]:
        with closing(self._open()) as index:
            yield from index.execute(sql, values)

    def _open(self) -> sqlite3.Connection:
        index = open_for_reading(self._volume)
        if index is None:
            raise Unavailable(f"{self._volume}: 没有录像索引 {INDEX_NAME}")
        return index


def _part(row: tuple[Any, ...]) -> AuditedPart:
    # The columns stand in the fields' order.
    names = AuditedPart.__dataclass_fields__
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    values["init_sha256"] = str(values["init_sha256"]).lower()
    return AuditedPart(**values)
