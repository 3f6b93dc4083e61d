"""At start: account for files that a crash left open. Nothing on the disk is changed or deleted.

For each file that is not sealed: whole parts behind the last row are verified and adopted; a torn
tail stays where it is and its length is recorded. Then every track whose recording did not stop in
good order gets a gap row with cause ``gateway_crashed`` from its last frame on.
"""

import hashlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from contracts.media.access_unit import Track
from contracts.timestamps import ticks_to_ns
from gateway.adapters.footage.rows import (
    PartRow,
    TrackIndex,
    gap_statement,
    read_track,
    roll_back,
    seal_statement,
    span_statement,
)
from gateway.core.fmp4 import Fragment, whole_fragments
from gateway.core.parts import ChainLink, chain, pack_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsealed:
    file_id: int
    stream_id: int
    stream: str
    track: Track
    name: str
    init: bytes
    init_sha256: str
    rate: int
    indexed_to: int
    """End of the last part with a row; the length of the initialisation segment without any."""


def recover(connection: sqlite3.Connection, volume: Path) -> None:
    """Bring index and disk of a volume to agreement; one transaction per file.

    Raises:
        OSError, sqlite3.Error: the volume cannot be read or the index not written.
    """
    for file in _unsealed(connection):
        path = volume / file.name
        index = read_track(connection, file.stream_id)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if path.exists():
                _account(connection, path, file, index)
            else:
                connection.execute(
                    "UPDATE files SET state = 'absent', size = 0, end_reason = 'crashed'"
                    " WHERE id = ?",
                    (file.file_id,),
                )
            connection.execute("COMMIT")
        except (OSError, sqlite3.Error):
            roll_back(connection)
            raise
    _close_runs(connection)


def _unsealed(connection: sqlite3.Connection) -> list[_Unsealed]:
    rows = connection.execute(
        "SELECT files.id, files.stream_id, stream, track, name, init, hex(sha256), rate,"
        " (SELECT max(offset + length) FROM parts WHERE file_id = files.id)"
        " FROM files JOIN streams ON streams.id = stream_id JOIN configs ON configs.id = config_id"
        " WHERE state = 'open' ORDER BY files.id"
    ).fetchall()
    return [
        _Unsealed(
            file_id=row[0],
            stream_id=row[1],
            stream=row[2],
            track=row[3],
            name=row[4],
            init=row[5],
            init_sha256=row[6].lower(),
            rate=row[7],
            indexed_to=row[8] or len(row[5]),
        )
        for row in rows
    ]


def _account(
    connection: sqlite3.Connection, path: Path, file: _Unsealed, index: TrackIndex
) -> None:
    with path.open("rb") as stream:
        head = stream.read(len(file.init))
        stream.seek(file.indexed_to)
        tail = stream.read()
        os.fdatasync(stream.fileno())
    size = file.indexed_to
    actual = size + len(tail) if tail else path.stat().st_size
    if head == file.init:
        fragments = [fragment for fragment in whole_fragments(tail) if fragment.wall_ns is not None]
        for number, fragment in enumerate(fragments):
            after = fragments[number + 1] if number + 1 < len(fragments) else None
            _adopt(connection, file, index, octets=tail, fragment=fragment, after=after)
            size = file.indexed_to + fragment.offset + fragment.length
    else:
        size = 0
    torn = max(0, actual - size)
    connection.execute(*seal_statement(file.file_id, size=size, reason="crashed", torn_bytes=torn))


def _adopt(
    connection: sqlite3.Connection,
    file: _Unsealed,
    index: TrackIndex,
    *,
    octets: bytes,
    fragment: Fragment,
    after: Fragment | None,
) -> None:
    """Make the row which the crash prevented, from what the part says of itself."""
    start = fragment.wall_ns or 0
    ticks = sum(sample.duration for sample in fragment.samples)
    end = start + ticks_to_ns(ticks, file.rate)
    if after is not None and after.decode_time == fragment.decode_time + ticks:
        end = after.wall_ns or end
    part = octets[fragment.offset : fragment.offset + fragment.length]
    sha256 = hashlib.sha256(part).digest()
    link = ChainLink(
        stream=file.stream,
        track=file.track,
        sequence=index.sequence + 1,
        start_ns=start,
        end_ns=end,
        media_start=fragment.decode_time,
        init_sha256=file.init_sha256,
    )
    row = PartRow(
        stream_id=file.stream_id,
        file_id=file.file_id,
        sequence=link.sequence,
        start_ns=start,
        end_ns=end,
        media_start=fragment.decode_time,
        media_ticks=ticks,
        is_key=fragment.samples[0].key,
        offset=file.indexed_to + fragment.offset,
        length=fragment.length,
        frame_count=len(fragment.samples),
        frames=pack_frames(fragment.samples),
        clock_offset_ms=None,
        sha256=sha256,
        chain=chain(index.chain, sha256, link),
    )
    connection.execute(*row.insert())
    connection.execute(*span_statement(index, row))
    index.sequence = row.sequence
    index.chain = row.chain
    for change in index.ledger.record(start, end):
        connection.execute(*gap_statement(file.stream_id, change))


def _close_runs(connection: sqlite3.Connection) -> None:
    """An orderly stop leaves a lasting gap behind each track; whoever has none has crashed."""
    streams = connection.execute("SELECT id FROM streams").fetchall()
    for (stream_id,) in streams:
        ledger = read_track(connection, stream_id).ledger
        if ledger.lasting is None and ledger.recorded_to is not None:
            for change in ledger.interrupt(ledger.recorded_to, "gateway_crashed"):
                connection.execute(*gap_statement(stream_id, change))
