"""Statements that write the index. One place, so that the columns are named once."""

import hashlib
import sqlite3
from dataclasses import dataclass

from contracts.ids import split_stream_id
from contracts.media.access_unit import Track
from contracts.timestamps import to_datetime
from gateway.core.coverage import GapChange, GapLedger, GapRow
from gateway.core.fmp4 import codec_name
from gateway.core.parts import CHAIN_GENESIS, FileBegins

Statement = tuple[str, tuple[object, ...]]

_INSERT_PART = (
    "INSERT INTO parts (stream_id, file_id, sequence, start_ns, end_ns, media_start, media_ticks,"
    " is_key, offset, length, frame_count, frames, clock_offset_ms, sha256, chain)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LENGTHEN_SPAN = (
    "UPDATE spans SET end_ns = ?"
    " WHERE id = (SELECT max(id) FROM spans WHERE stream_id = ? AND start_ns = ?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """A row of `parts`, in its order."""

    stream_id: int
    file_id: int
    sequence: int
    start_ns: int
    end_ns: int
    media_start: int
    media_ticks: int
    is_key: bool
    offset: int
    length: int
    frame_count: int
    frames: bytes
    clock_offset_ms: int | None
    sha256: bytes
    chain: bytes

    def insert(self) -> Statement:
        """The statement that stores it."""
        return _INSERT_PART, (
            self.stream_id,
            self.file_id,
            self.sequence,
            self.start_ns,
            self.end_ns,
            self.media_start,
            self.media_ticks,
            self.is_key,
            self.offset,
            self.length,
            self.frame_count,
            self.frames,
            self.clock_offset_ms,
            self.sha256,
            self.chain,
        )


def span_statement(index: "TrackIndex", row: PartRow) -> Statement:
    """Lengthen the span that the part continues, or begin one; `index` stands before the part."""
    if index.span_start is not None and index.ledger.recorded_to == row.start_ns:
        return _LENGTHEN_SPAN, (row.end_ns, row.stream_id, index.span_start)
    index.span_start = row.start_ns
    return (
        "INSERT INTO spans (stream_id, start_ns, end_ns) VALUES (?, ?, ?)",
        (row.stream_id, row.start_ns, row.end_ns),
    )


def gap_statement(stream_id: int, change: GapChange) -> Statement:
    """Store a change of the gap table; at most one row of a stream lasts."""
    row = change.row
    if change.is_new:
        return (
            "INSERT INTO gaps (stream_id, from_ns, to_ns, cause, detail) VALUES (?, ?, ?, ?, ?)",
            (stream_id, row.from_ns, row.to_ns, row.cause, row.detail),
        )
    return (
        "UPDATE gaps SET to_ns = ?, cause = ?, detail = ? WHERE stream_id = ? AND to_ns IS NULL",
        (row.to_ns, row.cause, row.detail, stream_id),
    )


def seal_statement(file_id: int, *, size: int, reason: str, torn_bytes: int = 0) -> Statement:
    """Say that nothing more comes for a file."""
    return (
        "UPDATE files SET state = 'sealed', size = ?, end_reason = ?, torn_bytes = ? WHERE id = ?",
        (size, reason, torn_bytes, file_id),
    )


def insert_stream(connection: sqlite3.Connection, stream: str, track: Track) -> int:
    """Find or make the row of one track of a stream; committed at once.

    Raises:
        InvalidInput: not a stream id, which would not be safe as a directory either.
    """
    split_stream_id(stream)
    connection.execute(
        "INSERT OR IGNORE INTO streams (stream, track) VALUES (?, ?)", (stream, track)
    )
    row = connection.execute(
        "SELECT id FROM streams WHERE stream = ? AND track = ?", (stream, track)
    ).fetchone()
    return int(row[0])


def insert_file(
    connection: sqlite3.Connection, stream_id: int, *, folder: str, run: int, begins: FileBegins
) -> tuple[int, str]:
    """Store the row of a file before the file exists; gives its id and its name.

    Committed at once: a file on the disk always has its row.
    """
    sha256 = hashlib.sha256(begins.init).digest()
    config = begins.config
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "INSERT OR IGNORE INTO configs (sha256, codec, rate, width, height, init)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (sha256, codec_name(config), config.rate, config.width, config.height, begins.init),
        )
        cursor = connection.execute(
            "INSERT INTO files (stream_id, config_id, name, run, session, start_ns, step_ns,"
            " init_bytes, state) SELECT ?, id, '', ?, ?, ?, ?, ?, 'open' FROM configs"
            " WHERE sha256 = ?",
            (
                stream_id,
                run,
                begins.session,
                begins.start_ns,
                begins.step_ns,
                len(begins.init),
                sha256,
            ),
        )
        file_id = int(cursor.lastrowid or 0)
        moment = to_datetime(begins.start_ns)
        name = f"{folder}/{moment:%Y%m%dT%H%M%SZ}-{file_id:08d}.mp4"
        connection.execute("UPDATE files SET name = ? WHERE id = ?", (name, file_id))
        connection.execute("COMMIT")
    except sqlite3.Error:
        roll_back(connection)
        raise
    return file_id, name


def roll_back(connection: sqlite3.Connection) -> None:
    """Give up the transaction that is open, if SQLite has not done so itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@dataclass(slots=True, kw_only=True)
class TrackIndex:
    """Where the index of one track stands.

    Attributes:
        sequence: of its last part.
        chain: value after that part.
        run: of its last file.
        span_start: of its last span; None when the next part must begin one.
        ledger: its gaps.
    """

    stream_id: int
    sequence: int
    chain: bytes
    run: int
    span_start: int | None
    ledger: GapLedger


def read_track(connection: sqlite3.Connection, stream_id: int) -> TrackIndex:
    """Read where the index of one track stands."""
    last = connection.execute(
        "SELECT sequence, chain, end_ns FROM parts WHERE stream_id = ?"
        " ORDER BY sequence DESC LIMIT 1",
        (stream_id,),
    ).fetchone()
    run = connection.execute(
        "SELECT max(run) FROM files WHERE stream_id = ?", (stream_id,)
    ).fetchone()[0]
    gap = connection.execute(
        "SELECT from_ns, cause, detail FROM gaps WHERE stream_id = ? AND to_ns IS NULL",
        (stream_id,),
    ).fetchone()
    span = connection.execute(
        "SELECT start_ns FROM spans WHERE stream_id = ? ORDER BY id DESC LIMIT 1", (stream_id,)
    ).fetchone()
    lasting = GapRow(from_ns=gap[0], to_ns=None, cause=gap[1], detail=gap[2]) if gap else None
    sequence, value, end_ns = last or (0, CHAIN_GENESIS, None)
    return TrackIndex(
        stream_id=stream_id,
        sequence=sequence,
        chain=value,
        run=run or 0,
        span_start=span[0] if span else None,
        ledger=GapLedger(recorded_to=end_ns, lasting=lasting),
    )
