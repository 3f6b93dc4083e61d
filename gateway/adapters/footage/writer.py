"""The disk thread's side of a volume: append parts, sync, then commit their rows.

Not thread-safe by itself: exactly one thread calls it (see `store`). Order of events for a part,
which the invariants of docs/design/recording.md rest on: the file's row is committed, the file is
created, the part is appended, the file is synced, the part's row is committed.
"""

import errno
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from contracts.clock import Clock
from contracts.errors import Unavailable
from contracts.media.access_unit import Track
from contracts.wire.footage import GapCause
from gateway.adapters.footage.disk import Disk, cause_of
from gateway.adapters.footage.recovery import recover
from gateway.adapters.footage.rows import (
    PartRow,
    Statement,
    TrackIndex,
    gap_statement,
    insert_file,
    insert_stream,
    read_track,
    roll_back,
    seal_statement,
    span_statement,
)
from gateway.adapters.footage.schema import open_for_writing
from gateway.core.coverage import GapChange
from gateway.core.parts import (
    ChainLink,
    Expected,
    FileBegins,
    FileEnd,
    FileEnds,
    Interrupted,
    Part,
    StoreItem,
    chain,
    pack_frames,
)

_LOCK_NAME = "footage.lock"
_MOST_ROWS = 20_000
"""Rows that may wait for a database that cannot commit; then parts are refused, with a gap."""

StoreEntry = tuple[str, Track, StoreItem]
FaultListener = Callable[[GapCause | None, str], None]
"""Called when a volume stops taking footage (cause, detail), and with None when it does again."""


@dataclass(slots=True, kw_only=True)
class _OpenFile:
    file_id: int
    stream_id: int
    fd: int
    size: int
    init_sha256: str
    ended: FileEnd | None = None


@dataclass(slots=True, kw_only=True)
class _TrackState:
    stream: str
    track: Track
    index: TrackIndex
    begins: FileBegins | None = None
    file: _OpenFile | None = None
    faulted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """A row that waits for the next commit; `file` must be synced before it."""

    statement: Statement
    state: _TrackState
    file: _OpenFile | None = None
    part: PartRow | None = None
    chain_before: bytes = field(default=b"")


class VolumeWriter:
    """Writes the footage of one volume."""

    def __init__(
        self, volume: Path, *, clock: Clock, disk: Disk, on_fault: FaultListener | None = None
    ) -> None:
        self._volume = volume
        self._clock = clock
        self._disk = disk
        self._on_fault = on_fault
        self._fault: GapCause | None = None
        self._lock_fd = -1
        self._tracks: dict[tuple[str, Track], _TrackState] = {}
        self._pending: list[_Pending] = []
        self._dirty: dict[int, _OpenFile] = {}
        self._folders: set[Path] = set()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Lock the volume, open its index and account for what a crash left.

        Raises:
            Unavailable: another recorder uses the volume, or its index is of another version or
                damaged.
            OSError: the volume cannot be written.
        """
        self._volume.mkdir(parents=True, exist_ok=True)
        self._lock_fd = os.open(self._volume / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._lock_fd)
            raise Unavailable(f"{self._volume}: 另一个录像进程正在使用此卷，请先停止它") from exc
        try:
            self._connection = open_for_writing(self._volume)
            recover(self._connection, self._volume)
        except sqlite3.Error as exc:
            raise Unavailable(f"{self._volume}: 录像索引无法打开（{exc}），请核对该卷") from exc

    def apply(self, entries: Iterable[StoreEntry]) -> None:
        """Write entries in their order. Faults become gap rows; nothing is raised for them."""
        for stream, track, item in entries:
            try:
                state = self._track(stream, track)
            except sqlite3.OperationalError as exc:
                # A stream that was never seen before, and no room to write its name.
                self._report(_cause_of_commit(exc), str(exc))
                continue
            match item:
                case Part():
                    self._part(state, item)
                case FileBegins():
                    self._end_file(state, "rotated")
                    state.begins = item
                    state.index.run += item.is_new_run
                case FileEnds():
                    self._end_file(state, item.reason)
                    state.begins = None
                case Interrupted():
                    self._gaps(
                        state,
                        state.index.ledger.interrupt(
                            item.at, item.cause, item.detail, supersedes=item.supersedes
                        ),
                    )
                case Expected():
                    self._gaps(state, state.index.ledger.expect(item.at))

    @property
    def has_pending(self) -> bool:
        """Something waits for `commit`."""
        return bool(self._pending or self._dirty)

    def commit(self) -> None:
        """Sync what was written, then commit the rows. A fault keeps or drops rows, as is true."""
        for file in list(self._dirty.values()):
            try:
                self._disk.sync(file.fd)
            except OSError as exc:
                self._drop(file, exc)
            else:
                del self._dirty[file.file_id]
        try:
            for folder in list(self._folders):
                self._disk.sync_folder(folder)
                self._folders.discard(folder)
            self._commit_rows()
        except (OSError, sqlite3.OperationalError) as exc:
            self._report(_cause_of_commit(exc), str(exc))
            return
        self._close_ended()
        self._report_recovery()

    def close(self) -> None:
        """Seal everything, say that recording stopped, and give the volume up."""
        now = self._clock.now()
        for state in self._tracks.values():
            self._end_file(state, "stopped")
            self._gaps(state, state.index.ledger.interrupt(now, "gateway_stopped"))
        self.commit()
        for file in self._dirty.values():
            self._disk.close(file.fd)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        os.close(self._lock_fd)

    # -- tracks and files ---------------------------------------------------------------------

    @property
    def _index(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable(f"{self._volume}: 卷未打开")
        return self._connection

    def _track(self, stream: str, track: Track) -> _TrackState:
        state = self._tracks.get((stream, track))
        if state is None:
            stream_id = insert_stream(self._index, stream, track)
            state = _TrackState(
                stream=stream, track=track, index=read_track(self._index, stream_id)
            )
            self._tracks[stream, track] = state
        return state

    def _part(self, state: _TrackState, part: Part) -> None:
        if state.file is None and not self._new_file(state, part):
            return
        file = state.file
        if file is None:
            raise AssertionError("a file is open")
        octets = part.octets()
        try:
            if len(self._pending) >= _MOST_ROWS:
                raise OSError(errno.ENOSPC, "索引长时间无法提交")  # noqa: TRY301 - one way for faults
            self._disk.append(file.fd, octets)
        except OSError as exc:
            self._fail(state, part, exc)
            return
        row = self._row(state, file, part, octets)
        self._pending.append(
            _Pending(
                statement=row.insert(),
                state=state,
                file=file,
                part=row,
                chain_before=state.index.chain,
            )
        )
        span = span_statement(state.index, row)
        self._pending.append(_Pending(statement=span, state=state, file=file))
        state.index.sequence = row.sequence
        state.index.chain = row.chain
        file.size += len(octets)
        self._dirty[file.file_id] = file
        self._gaps(state, state.index.ledger.record(part.start_ns, part.end_ns))
        state.faulted = False

    def _row(self, state: _TrackState, file: _OpenFile, part: Part, octets: bytes) -> PartRow:
        sha256 = hashlib.sha256(octets).digest()
        link = ChainLink(
            stream=state.stream,
            track=state.track,
            sequence=state.index.sequence + 1,
            start_ns=part.start_ns,
            end_ns=part.end_ns,
            media_start=part.media_start,
            init_sha256=file.init_sha256,
        )
        return PartRow(
            stream_id=state.index.stream_id,
            file_id=file.file_id,
            sequence=link.sequence,
            start_ns=part.start_ns,
            end_ns=part.end_ns,
            media_start=part.media_start,
            media_ticks=part.media_ticks,
            is_key=part.is_key,
            offset=file.size,
            length=len(octets),
            frame_count=len(part.samples),
            frames=pack_frames(part.samples),
            clock_offset_ms=part.clock_offset_ms,
            sha256=sha256,
            chain=chain(state.index.chain, sha256, link),
        )

    def _new_file(self, state: _TrackState, part: Part) -> bool:
        """Create the file that `FileBegins` announced, or a fresh one after a fault."""
        begins = state.begins
        if begins is None or not part.is_key:
            return False
        if any(row.part is not None and row.state is state for row in self._pending):
            # The file before is complete: a fault in it must not reach into this one.
            self.commit()
        folder = f"{state.stream}/{state.track}"
        try:
            file_id, name = insert_file(
                self._index,
                state.index.stream_id,
                folder=folder,
                run=state.index.run,
                begins=begins,
            )
        except sqlite3.OperationalError as exc:
            self._fail(state, part, OSError(errno.ENOSPC, str(exc)))
            return False
        path = self._volume / name
        fd = -1
        try:
            fd = self._disk.create(path)
            self._disk.append(fd, begins.init)
        except OSError as exc:
            self._abandon(state, file_id, fd)
            self._fail(state, part, exc)
            return False
        self._folders.update((path.parent, path.parent.parent, self._volume))
        state.file = _OpenFile(
            file_id=file_id,
            stream_id=state.index.stream_id,
            fd=fd,
            size=len(begins.init),
            init_sha256=hashlib.sha256(begins.init).hexdigest(),
        )
        return True

    def _abandon(self, state: _TrackState, file_id: int, fd: int) -> None:
        """A file that could not be begun keeps its row: it says that nothing is in it."""
        if fd >= 0:
            self._disk.close(fd)
        seal = seal_statement(file_id, size=0, reason="disk")
        self._pending.append(_Pending(statement=seal, state=state))

    def _end_file(self, state: _TrackState, reason: FileEnd) -> None:
        file, state.file = state.file, None
        if file is None:
            return
        file.ended = reason
        self._dirty[file.file_id] = file
        seal = seal_statement(file.file_id, size=file.size, reason=reason)
        self._pending.append(_Pending(statement=seal, state=state, file=file))

    def _gaps(self, state: _TrackState, changes: Iterable[GapChange]) -> None:
        for change in changes:
            statement = gap_statement(state.index.stream_id, change)
            self._pending.append(_Pending(statement=statement, state=state))

    # -- faults -------------------------------------------------------------------------------

    def _fail(self, state: _TrackState, part: Part, error: OSError) -> None:
        """A part could not be written: end its file, open a gap, try again at a key frame."""
        file = state.file
        if file is not None:
            state.file = None
            file.ended = "disk"
            self._dirty[file.file_id] = file
            torn = 0
            try:
                self._disk.cut(file.fd, file.size)
            except OSError:
                torn = part.size
            seal = seal_statement(file.file_id, size=file.size, reason="disk", torn_bytes=torn)
            self._pending.append(_Pending(statement=seal, state=state, file=file))
        state.faulted = True
        cause = cause_of(error)
        detail = error.strerror or str(error)
        self._gaps(state, state.index.ledger.interrupt(part.start_ns, cause, detail))
        self._report(cause, detail)

    def _drop(self, file: _OpenFile, error: OSError) -> None:
        """A file could not be synced: what it got since the last commit is not to be trusted."""
        del self._dirty[file.file_id]
        self._disk.close(file.fd)
        file.fd = -1
        state = next(s for s in self._tracks.values() if s.index.stream_id == file.stream_id)
        if state.file is file:
            state.file = None
        state.faulted = True
        lost = [row.part for row in self._pending if row.file is file and row.part is not None]
        size = file.size
        if lost:
            state.index.sequence = lost[0].sequence - 1
            state.index.chain = next(row for row in self._pending if row.file is file).chain_before
            state.index.span_start = None
            size = lost[0].offset
            cause = cause_of(error)
            self._gaps(state, state.index.ledger.lose(lost[0].start_ns, lost[-1].end_ns, cause))
        self._pending = [row for row in self._pending if row.file is not file]
        seal = seal_statement(
            file.file_id, size=size, reason=file.ended or "disk", torn_bytes=file.size - size
        )
        self._pending.append(_Pending(statement=seal, state=state))
        self._report(cause_of(error), error.strerror or str(error))

    def _commit_rows(self) -> None:
        waiting = {file.file_id for file in self._dirty.values()}
        if waiting:
            raise AssertionError("every file is synced or dropped before its rows are committed")
        if not self._pending:
            return
        index = self._index
        index.execute("BEGIN IMMEDIATE")
        try:
            for row in self._pending:
                index.execute(*row.statement)
            index.execute("COMMIT")
        except sqlite3.Error:
            roll_back(index)
            raise

    def _close_ended(self) -> None:
        for row in self._pending:
            if row.file is not None and row.file.ended and row.file.fd >= 0:
                self._disk.close(row.file.fd)
                row.file.fd = -1
        self._pending = []

    def _report(self, cause: GapCause, detail: str) -> None:
        if self._fault != cause and self._on_fault is not None:
            self._on_fault(cause, detail)
        self._fault = cause

    def _report_recovery(self) -> None:
        if any(state.faulted for state in self._tracks.values()) or self._fault is None:
            return
        self._fault = None
        if self._on_fault is not None:
            self._on_fault(None, "")


def _cause_of_commit(error: Exception) -> GapCause:
    if isinstance(error, OSError):
        return cause_of(error)
    return "disk_full" if "full" in str(error) else "disk_error"
