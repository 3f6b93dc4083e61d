"""The spool: events wait here, on disk, until the gateway says that it has them.

One SQLite file serves all devices of an agent (WAL, ``synchronous=FULL``: a commit survives a power
cut). Invariants, for each device:

1. ``seq`` counts 1, 2, 3 … without holes, over all restarts; ``prev`` is the digest of the envelope
   before. Both stand in the same transaction as the envelope.
2. `accept` returns after the commit. Whoever was told "accepted" finds the event again.
3. A row leaves only by `acknowledge`, in order, and never beyond what was made here.
4. A key is taken at most once, as long as it is among the newest `seen_keys`.

Many events at once share one transaction: callers queue, one thread commits. The event loop never
touches the file.
"""

import asyncio
import fcntl
import hashlib
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Self, TypeVar

from contracts.canonical import canonical_bytes
from contracts.clock import Clock
from contracts.errors import InvalidInput, MingjingError, Unavailable
from contracts.ids import uuid7
from contracts.signing import Signer
from contracts.timestamps import ClockQuality, WallTime
from contracts.wire.envelope import GENESIS, Envelope, StampClock
from edge_agent.core.spool_policy import SpoolLevel, SpoolLimits, has_room

MOST_WAITING = 1000
"""Callers that may queue for a commit; the next ones wait outside."""
_MOST_BATCH = 256
_RANDOM_BYTES = 10
_KEY_BYTES = 16
_PRUNE_EVERY = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS device (
    device TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    prev TEXT NOT NULL,
    keys INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS envelope (
    device TEXT NOT NULL,
    seq INTEGER NOT NULL,
    class TEXT NOT NULL,
    observed_ns INTEGER NOT NULL,
    raw BLOB NOT NULL,
    PRIMARY KEY (device, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    device TEXT NOT NULL,
    key BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (device, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_by_age ON seen (device, ordinal);
PRAGMA user_version = 1;
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolIdentity:
    """Who signs a device's envelopes, and in which run of the agent."""

    site: str
    device: str
    boot: str
    signer: Signer


@dataclass(slots=True, kw_only=True)
class _Draft:
    """An event that waits for its commit."""

    spool: "DeviceSpool"
    event_type: str
    event_class: str
    body: dict[str, Any]
    observed_ns: WallTime
    clock: StampClock
    key: str | None
    done: asyncio.Future[bool]


@dataclass(slots=True)
class _Chain:
    """A device's end of the chain and the sum of what waits; owned by the thread."""

    seq: int
    prev: str
    keys: int
    pending_bytes: int
    pending: int = field(default=0)


class SpoolFile:
    """The file and its one thread. `run` commits what callers queue; it must be running."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._connection: sqlite3.Connection | None = None
        self._lock: BinaryIO | None = None
        self._chains: dict[str, _Chain] = {}
        self._drafts: deque[_Draft] = deque()
        self._has_drafts = asyncio.Event()
        self._room = asyncio.Semaphore(MOST_WAITING)

    async def __aenter__(self) -> Self:
        """Open or make the file.

        Raises:
            Unavailable: it cannot be opened, is no spool, or another agent has it.
        """
        try:
            await self.call(self._open)
        except MingjingError:
            await self.call(self._close)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file; what was not committed was never accepted."""
        await self.call(self._close)
        self._thread.shutdown()

    async def run(self) -> NoReturn:
        """Commit drafts in batches until cancelled."""
        while True:
            await self._has_drafts.wait()
            self._has_drafts.clear()
            while self._drafts:
                size = min(len(self._drafts), _MOST_BATCH)
                batch = [self._drafts.popleft() for _ in range(size)]
                await self._commit(batch)

    async def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the file's thread.

        Raises:
            Unavailable: SQLite could not do it; says what is wrong with the file.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as exc:
            raise self._explained(exc) from exc

    async def queue(self, draft: _Draft) -> bool:
        """Wait for a draft's commit."""
        async with self._room:
            self._drafts.append(draft)
            self._has_drafts.set()
            return await draft.done

    async def _commit(self, batch: list[_Draft]) -> None:
        try:
            outcomes = await self.call(lambda: self._write(batch))
        except MingjingError as exc:
            outcomes = [exc] * len(batch)
        for draft, outcome in zip(batch, outcomes, strict=True):
            if draft.done.done():
                continue  # its caller was cancelled; the event is stored all the same
            if isinstance(outcome, bool):
                draft.done.set_result(outcome)
                draft.spool.stored.set()
            else:
                draft.done.set_exception(outcome)

    # Below: in the thread.

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection; only for the thread."""
        if self._connection is None:
            raise Unavailable(f"本地缓存 {self._path} 没有打开")
        return self._connection

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise Unavailable(f"无法创建目录 {self._path.parent}: {exc.strerror}") from exc
        self._lock = self._locked()
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._path.chmod(0o600)
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;"
        )
        self._connection.executescript(_SCHEMA)

    def _locked(self) -> BinaryIO:
        """Two agents on one spool would number alike; the kernel frees the lock of a dead one."""
        path = self._path.with_suffix(".lock")
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.close()
            raise Unavailable(
                f"另一个采集代理正在使用 {self._path.parent}：请先停止它，或换一个 data 目录"
            ) from exc
        return lock

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def chain(self, device: str) -> _Chain:
        """A device's chain, read once; only for the thread."""
        chain = self._chains.get(device)
        if chain is None:
            rows = self.connection.execute(
                "SELECT seq, prev, keys FROM device WHERE device = ?", (device,)
            ).fetchone()
            size, count = self.connection.execute(
                "SELECT coalesce(sum(length(raw)), 0), count(*) FROM envelope WHERE device = ?",
                (device,),
            ).fetchone()
            seq, prev, keys = rows or (0, GENESIS, 0)
            chain = _Chain(seq=seq, prev=prev, keys=keys, pending_bytes=size, pending=count)
            self._chains[device] = chain
        return chain

    def _write(self, batch: Iterable[_Draft]) -> list[bool | MingjingError]:
        self.connection.execute("BEGIN IMMEDIATE")
        is_committed = False
        try:
            outcomes = [self._write_one(draft) for draft in batch]
            self.connection.execute("COMMIT")
            is_committed = True
        finally:
            if not is_committed:
                self._chains.clear()  # what the file says counts, not what we hoped to write
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
        return outcomes

    def _write_one(self, draft: _Draft) -> bool | MingjingError:
        spool = draft.spool
        device = spool.identity.device
        chain = self.chain(device)
        if not has_room(chain.pending_bytes, spool.limits):
            return Unavailable(f"{device}: 本地缓存已满，事件留在终端里等待补采")
        if draft.key is not None and not self._take_key(device, draft.key, chain, spool.limits):
            return False
        envelope = self._envelope(draft, chain)
        raw = envelope.encode()
        chain.seq, chain.prev = envelope.seq, envelope.digest()
        chain.pending_bytes += len(raw)
        chain.pending += 1
        self.connection.execute(
            "INSERT INTO envelope VALUES (?, ?, ?, ?, ?)",
            (device, chain.seq, draft.event_class, draft.observed_ns, raw),
        )
        self.connection.execute(
            "INSERT INTO device VALUES (?, ?, ?, ?) ON CONFLICT (device) DO UPDATE "
            "SET seq = excluded.seq, prev = excluded.prev, keys = excluded.keys",
            (device, chain.seq, chain.prev, chain.keys),
        )
        return True

    def _envelope(self, draft: _Draft, chain: _Chain) -> Envelope:
        identity = draft.spool.identity
        return Envelope(
            id=uuid7(now=self._clock.now(), random=os.urandom(_RANDOM_BYTES)),
            type=draft.event_type,
            site=identity.site,
            device=identity.device,
            boot=identity.boot,
            seq=chain.seq + 1,
            observed_ns=draft.observed_ns,
            clock=draft.clock,
            body=draft.body,
            prev=chain.prev,
        ).signed(identity.signer)

    def _take_key(self, device: str, key: str, chain: _Chain, limits: SpoolLimits) -> bool:
        taken = self.connection.execute(
            "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (device, digest_key(key), chain.keys + 1),
        ).rowcount
        if not taken:
            return False
        chain.keys += 1
        if chain.keys % _PRUNE_EVERY == 0:
            self.connection.execute(
                "DELETE FROM seen WHERE device = ? AND ordinal <= ?",
                (device, chain.keys - limits.seen_keys),
            )
        return True

    def _explained(self, exc: sqlite3.Error) -> Unavailable:
        text = str(exc)
        if "full" in text:
            return Unavailable(f"磁盘已满，无法写入 {self._path}：请清理磁盘")
        if "malformed" in text or "not a database" in text:
            return Unavailable(
                f"本地缓存 {self._path} 已损坏（{text}）：请保留该文件备查，移开后重启"
            )
        return Unavailable(f"本地缓存 {self._path} 无法使用：{text}")


class DeviceSpool:
    """One device's part of a `SpoolFile`; fulfils the port `Spool`."""

    def __init__(self, file: SpoolFile, identity: SpoolIdentity, limits: SpoolLimits) -> None:
        self.identity = identity
        self.limits = limits
        self.stored = asyncio.Event()
        self._file = file

    async def accept(
        self,
        event_type: str,
        event_class: str,
        *,
        body: dict[str, Any],
        observed_ns: WallTime,
        clock: ClockQuality,
        key: str | None = None,
    ) -> bool:
        """Store an event; see `EventSink.accept`.

        Raises:
            InvalidInput: the body has no canonical form.
            Unavailable: the spool is full, or its disk.
        """
        canonical_bytes(body)  # refuse now what would spoil a whole batch in the thread
        draft = _Draft(
            spool=self,
            event_type=event_type,
            event_class=event_class,
            body=body,
            observed_ns=observed_ns,
            clock=StampClock(source=clock.source, error_ms=clock.error_ms),
            key=key,
            done=asyncio.get_running_loop().create_future(),
        )
        return await self._file.queue(draft)

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        """Which of these keys were accepted before."""
        return await self._file.call(lambda: self._known(keys))

    async def pending(self, *, after: int, limit: int) -> Sequence[tuple[int, str, bytes]]:
        """The next envelopes in order, with seq above `after`."""
        return await self._file.call(
            lambda: self._file.connection.execute(
                "SELECT seq, class, raw FROM envelope WHERE device = ? AND seq > ? "
                "ORDER BY seq LIMIT ?",
                (self.identity.device, after, limit),
            ).fetchall()
        )

    async def acknowledge(self, seq: int) -> None:
        """Let go of everything up to and including `seq`.

        Raises:
            InvalidInput: `seq` was never made here; nothing is let go of.
        """
        await self._file.call(lambda: self._acknowledge(seq))

    async def wait_beyond(self, seq: int) -> int:
        """Wait until an envelope with a number above `seq` is stored; the highest number."""
        while True:
            self.stored.clear()
            last = await self._file.call(lambda: self._file.chain(self.identity.device).seq)
            if last > seq:
                return last
            await self.stored.wait()

    async def level(self) -> SpoolLevel:
        """How full it is."""
        return await self._file.call(self._level)

    def _known(self, keys: Sequence[str]) -> frozenset[str]:
        find = "SELECT 1 FROM seen WHERE device = ? AND key = ?"
        connection, device = self._file.connection, self.identity.device
        return frozenset(
            key for key in keys if connection.execute(find, (device, digest_key(key))).fetchone()
        )

    def _acknowledge(self, seq: int) -> None:
        device = self.identity.device
        chain = self._file.chain(device)
        if seq > chain.seq:
            raise InvalidInput(
                f"网关确认到 {seq}，本机只产生到 {chain.seq}：本地缓存可能被更换过，"
                "请联系管理员核对",
                field="ack.seq",
            )
        size, count = self._file.connection.execute(
            "SELECT coalesce(sum(length(raw)), 0), count(*) FROM envelope "
            "WHERE device = ? AND seq <= ?",
            (device, seq),
        ).fetchone()
        self._file.connection.execute(
            "DELETE FROM envelope WHERE device = ? AND seq <= ?", (device, seq)
        )
        chain.pending_bytes -= size
        chain.pending -= count

    def _level(self) -> SpoolLevel:
        device = self.identity.device
        chain = self._file.chain(device)
        oldest = self._file.connection.execute(
            "SELECT observed_ns FROM envelope WHERE device = ? ORDER BY seq LIMIT 1", (device,)
        ).fetchone()
        return SpoolLevel(
            pending=chain.pending,
            pending_bytes=chain.pending_bytes,
            oldest_ns=WallTime(oldest[0]) if oldest else None,
        )


def digest_key(key: str) -> bytes:
    """What is kept of a key: enough to tell a million apart."""
    return hashlib.sha256(key.encode()).digest()[:_KEY_BYTES]
