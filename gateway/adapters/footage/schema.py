"""Tables of a volume's index, and how connections to it are opened.

Units: `_ns` wall time in nanoseconds, `media_` ticks of the configuration's rate, `offset`,
`length`, `size` and `_bytes` octets. The invariants are in docs/design/recording.md.
"""

import sqlite3
from pathlib import Path

from contracts.errors import Unavailable

INDEX_NAME = "footage.sqlite"
SCHEMA_VERSION = 2
_BUSY_S = 10.0

_SPANS = """
-- Parts that follow one another without a hole, joined: a day is read in microseconds.
CREATE TABLE spans (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL
);
CREATE INDEX spans_by_time ON spans (stream_id, start_ns, end_ns);
"""

_SCHEMA = """
CREATE TABLE meta (
    schema_version INTEGER NOT NULL
);
INSERT INTO meta VALUES (1);  -- raised by the upgrades, which a new index runs too
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    track TEXT NOT NULL CHECK (track IN ('video', 'audio')),
    UNIQUE (stream, track)
);
-- What decodes a file. One row per distinct initialisation segment.
CREATE TABLE configs (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,      -- of init
    codec TEXT NOT NULL,              -- RFC 6381
    rate INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    init BLOB NOT NULL
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    config_id INTEGER NOT NULL REFERENCES configs (id),
    name TEXT NOT NULL,               -- below the volume
    run INTEGER NOT NULL,             -- counts the runs of the track; media time is of the run
    session TEXT NOT NULL,            -- of the source
    start_ns INTEGER NOT NULL,
    step_ns INTEGER NOT NULL,         -- jump of the gateway's clock against the run before
    init_bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'sealed', 'absent')),
    end_reason TEXT,
    size INTEGER,                     -- up to the end of the last part; NULL while open
    torn_bytes INTEGER NOT NULL DEFAULT 0  -- left behind it by a crash or a full disk
);
CREATE INDEX files_open ON files (state) WHERE state = 'open';
CREATE INDEX files_by_stream ON files (stream_id, run);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    file_id INTEGER NOT NULL REFERENCES files (id),
    sequence INTEGER NOT NULL,        -- of the chain, from 1 without holes
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    media_start INTEGER NOT NULL,
    media_ticks INTEGER NOT NULL,
    is_key INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    frame_count INTEGER NOT NULL,
    frames BLOB NOT NULL,             -- see gateway.core.parts.pack_frames
    clock_offset_ms INTEGER,
    sha256 BLOB NOT NULL,
    chain BLOB NOT NULL
);
-- Covering: listing and seeking never touch the table with its blobs.
CREATE INDEX parts_by_time ON parts (
    stream_id, start_ns, end_ns, is_key, file_id, offset, length, media_start, media_ticks
);
CREATE INDEX parts_by_file ON parts (file_id, offset, length, start_ns, end_ns, is_key);
CREATE UNIQUE INDEX parts_by_sequence ON parts (stream_id, sequence);
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    from_ns INTEGER NOT NULL,
    to_ns INTEGER,                    -- NULL while it lasts
    cause TEXT NOT NULL,
    detail TEXT NOT NULL,
    CHECK (to_ns IS NULL OR to_ns >= from_ns)
);
CREATE INDEX gaps_by_time ON gaps (stream_id, from_ns, to_ns, cause, detail);
CREATE UNIQUE INDEX gaps_lasting ON gaps (stream_id) WHERE to_ns IS NULL;
"""

_FILL_SPANS = """
INSERT INTO spans (stream_id, start_ns, end_ns)
SELECT stream_id, min(start_ns), max(end_ns) FROM (
    SELECT stream_id, start_ns, end_ns,
        sum(is_first) OVER (PARTITION BY stream_id ORDER BY start_ns) AS span
    FROM (
        SELECT stream_id, start_ns, end_ns,
            lag(end_ns) OVER (PARTITION BY stream_id ORDER BY start_ns) IS NOT start_ns AS is_first
        FROM parts
    )
) GROUP BY stream_id, span ORDER BY stream_id, min(start_ns);
UPDATE meta SET schema_version = 2;
"""

_UPGRADES = {1: _SPANS + _FILL_SPANS}
"""What makes the next version of each; a new index begins at version 1 and goes through all."""


def open_for_writing(volume: Path) -> sqlite3.Connection:
    """Open or create the index of a volume; the caller holds the volume's lock.

    Raises:
        Unavailable: the index is of another version of this program.
    """
    connection = sqlite3.connect(
        volume / INDEX_NAME, isolation_level=None, timeout=_BUSY_S, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit survives a power cut, so a sealed file never looks open again.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    found = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not found:
        connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
    version = connection.execute("SELECT schema_version FROM meta").fetchone()[0]
    while version in _UPGRADES:
        connection.executescript(f"BEGIN; {_UPGRADES[version]} COMMIT;")
        version += 1
    if version != SCHEMA_VERSION:
        connection.close()
        raise Unavailable(
            f"{volume / INDEX_NAME} 的结构版本为 {version}，本程序需要 {SCHEMA_VERSION}；"
            "请使用匹配的版本"
        )
    return connection


def open_for_reading(volume: Path) -> sqlite3.Connection | None:
    """Open the index read-only; None when nothing was ever recorded here."""
    path = volume / INDEX_NAME
    if not path.exists():
        return None
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_S
    )
    connection.execute("PRAGMA query_only = ON")
    return connection
