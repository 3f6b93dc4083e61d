"""What the gateway knows for good, in one SQLite database.

Invariants:

1. An event, what it means and the facts it makes are written in one transaction, or none is.
2. The events of a device form one unbroken chain: number n is there only with all before it.
3. A fact leaves the outbox only after the broker confirmed it; the outbox keeps order.
4. A punch that was stated without its person or place is in `unnamed`, until a register names both.

``synchronous=FULL`` makes a returned commit survive a power cut. One thread owns the connection;
the event loop never waits for the disk itself.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from contracts.errors import Conflict, Unavailable
from contracts.timestamps import WallTime
from contracts.wire.access import PunchFact
from contracts.wire.devices import DeviceDesc
from contracts.wire.footage import FootageLinkFact
from contracts.wire.orders import SiteOrder, StepOrder
from contracts.wire.presence import DeviceHealthFact, PresenceFact
from gateway.core.event_chain import AcceptedEvent, ChainHead
from gateway.core.facts import Fact, WireFact, encode_fact
from gateway.core.linking import LinkedStep, merge_step
from gateway.core.punches import Whereabouts, is_complete, named

_VERSION = 2
_UNNAMED = """
CREATE TABLE unnamed (
    event_id TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
_SCHEMA = """
CREATE TABLE event (
    device TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    type TEXT NOT NULL,
    observed_ns INTEGER NOT NULL,
    raw BLOB NOT NULL,
    PRIMARY KEY (device, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE punch (
    device TEXT NOT NULL,
    key TEXT NOT NULL,
    event_id TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    PRIMARY KEY (device, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE device (
    device TEXT PRIMARY KEY,
    description TEXT,
    health TEXT,
    clock_offset_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE site (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,
    body TEXT NOT NULL) STRICT;
CREATE TABLE step (
    step TEXT PRIMARY KEY,
    ended_ns INTEGER,
    final INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL,
    link TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE presence (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    to_ns INTEGER,
    seen_ns INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX presence_open ON presence (device) WHERE to_ns IS NULL;
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
"""
_UPGRADES = {1: _UNNAMED}
"""What leads from each older version to the next."""

T = TypeVar("T")


class StateStore:
    """The database behind every storage port of the gateway (EventStore to Outbox)."""

    def __init__(self, path: Path) -> None:
        """Open or create the database.

        Raises:
            Unavailable: the folder cannot be written, or a newer program made the database.
        """
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state-store")
        self._filled = asyncio.Event()
        self._filled.set()
        # Asked for with every batch and every tick; this process is the only writer.
        self._site: SiteOrder | None = None
        self._db = self._pool.submit(_open, path).result()
        reading = self._pool.submit(self._db.execute, "PRAGMA application_id")
        self.identity: int = reading.result().fetchone()[0]
        """Drawn when the database was made: tells a new one from one that goes on."""

    async def close(self) -> None:
        """Finish what was begun and close the file."""
        await self._run(self._db.close)
        self._pool.shutdown()

    # events

    async def head(self, device: str) -> ChainHead:
        """The device's last stored event."""
        row = await self._row(
            "SELECT seq, digest FROM event WHERE device = ? ORDER BY seq DESC LIMIT 1", device
        )
        return ChainHead(seq=row[0], digest=row[1]) if row else ChainHead()

    async def digest_of(self, device: str, seq: int) -> str | None:
        """Digest of a stored event."""
        row = await self._row("SELECT digest FROM event WHERE device = ? AND seq = ?", device, seq)
        return str(row[0]) if row else None

    async def accept(self, events: Sequence[AcceptedEvent]) -> None:
        """Store events, what they mean and the facts they make, in one transaction."""

        def write(db: sqlite3.Connection) -> None:
            unnamed = [fact for event in events if (fact := _insert_event(db, event))]
            site = self._register(db) if unnamed else None
            if site is not None:
                # It may have come between the look at it and now.
                _name(db, unnamed, site)

        try:
            await self._write(write)
        except sqlite3.IntegrityError as exc:
            raise Conflict(f"事件编号重复 (event id or number is already used): {exc}") from exc
        self._filled.set()

    async def clock_offset(self, device: str) -> int | None:
        """The device's clock minus ours in milliseconds, last measured; None before that."""
        row = await self._row("SELECT clock_offset_ms FROM device WHERE device = ?", device)
        return row[0] if row else None

    async def counts(self) -> dict[str, int]:
        """How many events and punches are stored and how many facts wait, for the status page."""
        row = await self._row(
            "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM punch),"
            " (SELECT count(*) FROM outbox)"
        )
        events, punches, waiting = row or (0, 0, 0)
        return {"events": events, "punches": punches, "facts_waiting": waiting}

    # the register

    async def site(self) -> SiteOrder | None:
        """The site's register; None until central sent one."""
        if self._site is None:
            row = await self._row("SELECT body FROM site")
            self._site = SiteOrder.model_validate_json(row[0]) if row else None
        return self._site

    async def put_site(self, order: SiteOrder) -> bool:
        """Replace the register when the version is higher; False when it is not."""

        def write(db: sqlite3.Connection) -> bool:
            done = db.execute(
                "INSERT INTO site VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE"
                " SET version = excluded.version, body = excluded.body"
                " WHERE excluded.version > site.version",
                (order.version, order.model_dump_json()),
            )
            if done.rowcount == 1:
                rows = db.execute("SELECT body FROM unnamed").fetchall()
                unnamed = [PunchFact.model_validate_json(body) for (body,) in rows]
                _name(db, sorted(unnamed, key=lambda f: (f.observed_ns, f.seq)), order)
            return done.rowcount == 1

        replaced = await self._write(write)
        if replaced:
            self._site = order
            self._filled.set()
        return replaced

    def _register(self, db: sqlite3.Connection) -> SiteOrder | None:
        """The register as of this transaction."""
        row = db.execute("SELECT version FROM site").fetchone()
        if row is None or (self._site is not None and self._site.version == row[0]):
            return self._site
        (body,) = db.execute("SELECT body FROM site").fetchone()
        return SiteOrder.model_validate_json(body)

    # devices

    async def put_description(self, desc: DeviceDesc) -> None:
        """Keep a description."""
        await self._write(
            lambda db: db.execute(
                "INSERT INTO device (device, description) VALUES (?, ?)"
                " ON CONFLICT (device) DO UPDATE SET description = excluded.description",
                (desc.device, desc.model_dump_json()),
            )
        )

    async def description(self, device: str) -> DeviceDesc | None:
        """The kept description."""
        row = await self._row("SELECT description FROM device WHERE device = ?", device)
        return DeviceDesc.model_validate_json(row[0]) if row and row[0] else None

    async def stated_health(self) -> dict[str, DeviceHealthFact]:
        """The last health fact of each device."""
        rows = await self._rows("SELECT device, health FROM device WHERE health IS NOT NULL")
        return {device: DeviceHealthFact.model_validate_json(body) for device, body in rows}

    async def state_health(self, fact: DeviceHealthFact) -> None:
        """Keep a health fact and put it in the outbox."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO device (device, health) VALUES (?, ?)"
                " ON CONFLICT (device) DO UPDATE SET health = excluded.health",
                (fact.device, fact.model_dump_json()),
            )
            _put_out(db, fact)

        await self._write(write)
        self._filled.set()

    # steps and links

    async def put_step(self, order: StepOrder) -> None:
        """Keep a step; an end once told is not undone by an older message."""

        def write(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT body FROM step WHERE step = ?", (order.step,)).fetchone()
            known = StepOrder.model_validate_json(row[0]) if row else None
            merged = merge_step(known, order)
            db.execute(
                "INSERT INTO step (step, ended_ns, body) VALUES (?, ?, ?)"
                " ON CONFLICT (step) DO UPDATE"
                " SET ended_ns = excluded.ended_ns, body = excluded.body",
                (merged.step, merged.ended_ns, merged.model_dump_json()),
            )

        await self._write(write)

    async def steps(self, *, ended_after: int) -> list[LinkedStep]:
        """Steps that run, are not finally linked, or ended after this wall time."""
        rows = await self._rows(
            "SELECT body, link FROM step WHERE ended_ns IS NULL OR final = 0 OR ended_ns > ?"
            " ORDER BY step",
            ended_after,
        )
        return [
            LinkedStep(
                order=StepOrder.model_validate_json(body),
                link=FootageLinkFact.model_validate_json(link) if link else None,
            )
            for body, link in rows
        ]

    async def state_link(self, link: FootageLinkFact) -> None:
        """Keep a link and put it in the outbox."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE step SET link = ?, final = ? WHERE step = ?",
                (link.model_dump_json(), link.final, link.step),
            )
            _put_out(db, link)

        await self._write(write)
        self._filled.set()

    # presence

    async def open_intervals(self) -> list[tuple[PresenceFact, WallTime]]:
        """Intervals without an end, each with the last instant it was known to hold."""
        rows = await self._rows("SELECT body, seen_ns FROM presence WHERE to_ns IS NULL")
        return [(PresenceFact.model_validate_json(body), WallTime(seen)) for body, seen in rows]

    async def state_presence(self, facts: Sequence[PresenceFact], *, seen: WallTime) -> None:
        """Keep intervals and put them in the outbox."""

        def write(db: sqlite3.Connection) -> None:
            for fact in facts:
                db.execute(
                    "INSERT INTO presence VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                    " SET to_ns = excluded.to_ns, seen_ns = excluded.seen_ns,"
                    " body = excluded.body",
                    (fact.id, fact.device, fact.to_ns, seen, fact.model_dump_json()),
                )
                _put_out(db, fact)

        await self._write(write)
        self._filled.set()

    async def presence_seen(self, device: str, seen: WallTime) -> None:
        """Note that the device's open interval still holds."""
        await self._write(
            lambda db: db.execute(
                "UPDATE presence SET seen_ns = ? WHERE device = ? AND to_ns IS NULL",
                (seen, device),
            )
        )

    # outbox

    async def pending(self, limit: int) -> list[tuple[int, Fact]]:
        """The oldest facts with their positions."""
        # Cleared before reading: what is written meanwhile sets it again.
        self._filled.clear()
        rows = await self._rows(
            "SELECT position, kind, id, payload FROM outbox ORDER BY position LIMIT ?", limit
        )
        if rows:
            self._filled.set()
        return [(row[0], Fact(kind=row[1], id=row[2], payload=row[3])) for row in rows]

    async def remove(self, position: int) -> None:
        """The broker holds it: forget it here."""
        await self._write(
            lambda db: db.execute("DELETE FROM outbox WHERE position = ?", (position,))
        )

    async def wait_filled(self) -> None:
        """Return when something may be pending."""
        await self._filled.wait()

    # the one thread

    async def _row(self, sql: str, *values: object) -> Any:
        rows = await self._rows(sql, *values)
        return rows[0] if rows else None

    async def _rows(self, sql: str, *values: object) -> list[Any]:
        return await self._run(lambda: self._db.execute(sql, values).fetchall())

    async def _write(self, write: Callable[[sqlite3.Connection], T]) -> T:
        def in_transaction() -> T:
            with _transaction(self._db):
                return write(self._db)

        return await self._run(in_transaction)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except sqlite3.OperationalError as exc:
            raise Unavailable(f"状态库不可用 (state database): {exc}") from exc


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            identity = secrets.randbits(31)
            db.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} {_UNNAMED} PRAGMA application_id = {identity};"
                f" PRAGMA user_version = {_VERSION}; COMMIT;"
            )
        while version in _UPGRADES:
            step = _UPGRADES[version]
            version += 1
            db.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {version}; COMMIT;")
    except (OSError, sqlite3.Error) as exc:
        raise Unavailable(f"{path}: 打不开状态库 (cannot open the state database): {exc}") from exc
    if version not in {0, _VERSION}:
        raise Unavailable(
            f"{path}: 状态库是第 {version} 版，本程序只认第 {_VERSION} 版 "
            f"(made by another version of this program)"
        )
    return db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _insert_event(db: sqlite3.Connection, event: AcceptedEvent) -> PunchFact | None:
    """Write one event; gives the punch that it states without its person or place."""
    envelope = event.envelope
    db.execute(
        "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            envelope.device,
            envelope.seq,
            envelope.id,
            event.digest,
            envelope.type,
            envelope.observed_ns,
            event.raw,
        ),
    )
    if event.clock is not None:
        db.execute(
            "INSERT INTO device (device, clock_offset_ms) VALUES (?, ?)"
            " ON CONFLICT (device) DO UPDATE SET clock_offset_ms = excluded.clock_offset_ms",
            (envelope.device, event.clock.offset_ms),
        )
    if event.punched is not None and event.punch is not None:
        # The live event and the stored record of one scan have one key: one punch, one fact.
        done = db.execute(
            "INSERT INTO punch VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (envelope.device, event.punched.key, envelope.id, event.punch.at_ns),
        )
        if done.rowcount == 1:
            _put_out(db, event.punch)
            return _remember_unnamed(db, event.punch)
    return None


def _remember_unnamed(db: sqlite3.Connection, fact: PunchFact) -> PunchFact | None:
    if is_complete(fact):
        db.execute("DELETE FROM unnamed WHERE event_id = ?", (fact.id,))
        return None
    db.execute(
        "INSERT INTO unnamed VALUES (?, ?) ON CONFLICT (event_id) DO UPDATE"
        " SET body = excluded.body",
        (fact.id, fact.model_dump_json()),
    )
    return fact


def _name(db: sqlite3.Connection, unnamed: Sequence[PunchFact], site: SiteOrder) -> None:
    """State again what the register now says more about."""
    where = Whereabouts.of(site)
    for known in unnamed:
        fact = named(known, where)
        if fact is not None:
            _put_out(db, fact)
            _remember_unnamed(db, fact)


def _put_out(db: sqlite3.Connection, fact: WireFact) -> None:
    out = encode_fact(fact)
    db.execute(
        "INSERT INTO outbox (kind, id, payload) VALUES (?, ?, ?)", (out.kind, out.id, out.payload)
    )
