"""ZKTeco fingerprint terminals on port 4370, TCP.

Live events as they come; every stored record at connect and every few minutes, so that what was
scanned while the line was down, or was never sent live, arrives too. A live event is acknowledged
to the terminal only after it is durable here. While the first back-fill runs, live events wait, so
that punches keep the order in which they were made.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NoReturn

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.backoff import Backoff
from contracts.errors import Denied, InvalidInput, ProtocolError, Unavailable
from contracts.timestamps import NS
from contracts.wire.access import Punched
from contracts.wire.devices import ClockMeasured
from edge_agent.core.zk_clock import TerminalClock
from edge_agent.core.zk_facts import (
    BackfillFailed,
    ClockRead,
    Event,
    Fact,
    Identified,
    LiveRefused,
    NothingNew,
    OtherEvent,
    Rubbish,
    Stored,
)
from edge_agent.core.zk_punches import (
    Numbered,
    Origin,
    describe_offset,
    number_live,
    number_stored,
    punch,
    round_trip_ms,
)
from edge_agent.core.zk_records import Attendance, Unreadable, local_time
from edge_agent.core.zk_session import ZkOptions, ZkSession
from edge_agent.ports import DriverParts

CLOCK_LIMIT_MS = 30_000
"""A terminal that is further off than this is reported (and its punches carry the offset)."""
_CLOCK_NEWS_MS = 2_000
_CLOCK_EVERY_S = 3600
_FULL_EVERY_S = 3600
"""Between full readings the count tells whether there is anything to read."""
_MOST_HELD = 2_000
_MOST_STORED = 300_000
_BATCH = 200
_LOOKUP = 5_000
_READ_BYTES = 65_536
_MOST_KEY = 0xFFFFFFFF


class ZkTerminalOptions(BaseModel):
    """A terminal's keys in the agent's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 4370
    comm_key_file: Path | None = None
    """A file that holds the communication key, a number; none means key 0."""
    reconcile_s: Annotated[float, Field(ge=1)] = 180.0
    """How often every stored record is read again."""
    poll_s: Annotated[float, Field(ge=1)] = 15.0
    """How often the terminal is asked for its time, which also shows that it is there."""
    reply_s: Annotated[float, Field(gt=0)] = 10.0
    connect_s: Annotated[float, Field(gt=0)] = 5.0
    utc_offset_minutes: Annotated[int, Field(ge=-720, le=840)] = 480
    """The zone of the terminal's clock, which the protocol never mentions."""


class ZkQuirks(BaseModel):
    """What a profile may say of a model; see ``firmware_configs/README.md``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_width: Literal[10, 12, 14, 32, 36, 37, 52] | None = None
    record_width: Literal[8, 16, 40] | None = None
    acknowledge_events: bool = True
    set_clock: bool = False
    unlock_unit: Literal["s", "0.1s"] = "0.1s"


class ZkTerminal:
    """Fulfils the port `Driver`."""

    Options: ClassVar[type[BaseModel]] = ZkTerminalOptions

    def __init__(self, options: ZkTerminalOptions, parts: DriverParts) -> None:
        """Build it; opens nothing.

        Raises:
            InvalidInput: the profile holds a quirk that this driver does not know.
        """
        self._options = options
        self._parts = parts
        self._quirks = _quirks(parts)
        self._log = structlog.get_logger().bind(device=parts.device)
        self._where = f"{options.host}:{options.port}"
        self._terminal_clock = TerminalClock()
        self._told_offset_ms: int | None = None
        self._told_offset_ns = 0
        self._complaints: dict[str, str] = {}
        self._note = ""
        self._held: list[Event] = []
        self._is_caught_up = False
        self._poll_at_ns = 0
        self._reconcile_at_ns = 0
        self._full_at_ns = 0
        self._known_count: int | None = None
        """How many scans the terminal holds if nothing escaped us; None when not known."""

    @staticmethod
    def streams(_options: ZkTerminalOptions) -> tuple[str, ...]:
        """Terminals feed no media."""
        return ()

    async def run(self) -> NoReturn:
        """Serve the terminal until cancelled; reconnects with jittered delays."""
        health = self._parts.health
        health.report("degraded", "starting", f"正在连接指纹机 {self._where}")
        attempt = 0
        while True:
            self._is_caught_up = False
            backoff = Backoff()
            try:
                await self._session()
            except Denied:
                backoff = Backoff(most_s=60.0)
                health.report(
                    "offline",
                    "bad_credentials",
                    f"指纹机 {self._where} 拒绝通信密钥："
                    "请核对终端菜单里的通讯密码与 comm_key_file 的内容",
                )
            except ProtocolError as exc:
                health.report(
                    "degraded",
                    "protocol_garbage",
                    f"指纹机 {self._where} 发来无法识别的数据（{exc}），"
                    "正在重连：请检查地址、端口和网线",
                )
            except (Unavailable, OSError, TimeoutError) as exc:
                health.report(
                    "offline",
                    "unreachable",
                    f"连不上指纹机 {self._where}（{_reason(exc)}）：请检查电源、网线和地址",
                )
            attempt = 0 if self._is_caught_up else attempt + 1
            delay = backoff.delay(attempt, random=self._parts.random())
            await self._parts.clock.sleep(delay)

    async def _session(self) -> NoReturn:
        """One connection, until it breaks.

        Raises:
            Denied: wrong communication key.
            ProtocolError: what is there does not speak this protocol.
            Unavailable: it went away.
            OSError, TimeoutError: it is not there.
        """
        options, clock = self._options, self._parts.clock
        key = await asyncio.to_thread(_read_key, options.comm_key_file)
        async with asyncio.timeout(options.connect_s):
            reader, writer = await asyncio.open_connection(options.host, options.port)
        session = ZkSession(
            ZkOptions(
                comm_key=key,
                reply_ns=int(options.reply_s * NS),
                event_width=self._quirks.event_width,
                record_width=self._quirks.record_width,
            )
        )
        self._held.clear()
        self._complaints.clear()
        self._note = ""
        session.start(clock.monotonic_ns())
        self._plan(poll=True, reconcile=True)
        self._known_count = None
        self._full_at_ns = clock.monotonic_ns() + _FULL_EVERY_S * NS
        try:
            while True:
                await self._flush(session, writer)
                data = await self._read(session, reader)
                if data is None:
                    self._ask_what_is_due(session)
                elif not data:
                    raise Unavailable("终端断开了连接")
                else:
                    facts = session.receive(data, clock.monotonic_ns())
                    await self._take(session, facts)
        finally:
            session.close()
            writer.write(session.data_to_send())
            writer.close()

    async def _flush(self, session: ZkSession, writer: asyncio.StreamWriter) -> None:
        writer.write(session.data_to_send())
        async with asyncio.timeout(self._options.reply_s):
            await writer.drain()

    async def _read(self, session: ZkSession, reader: asyncio.StreamReader) -> bytes | None:
        """Bytes, or None when a timer is due; empty at the end of the connection."""
        due = min(self._poll_at_ns, self._reconcile_at_ns)
        if session.timer_ns is not None:
            due = min(due, session.timer_ns)
        seconds = max(0.0, (due - self._parts.clock.monotonic_ns()) / NS)
        try:
            async with asyncio.timeout(seconds):
                return await reader.read(_READ_BYTES)
        except TimeoutError:
            return None

    def _ask_what_is_due(self, session: ZkSession) -> None:
        now = self._parts.clock.monotonic_ns()
        session.handle_timer(now)
        if now >= self._poll_at_ns:
            session.poll_clock(now)
            self._plan(poll=True)
        if now >= self._reconcile_at_ns:
            if now >= self._full_at_ns:
                self._known_count = None
                self._full_at_ns = now + _FULL_EVERY_S * NS
            session.backfill(now, known=self._known_count)
            self._plan(reconcile=True)

    def _plan(self, *, poll: bool = False, reconcile: bool = False) -> None:
        now = self._parts.clock.monotonic_ns()
        if poll:
            later = int(self._options.poll_s * NS)
            # Up to a second later still, at the moment that tells most of the terminal's clock.
            later += self._terminal_clock.telling_delay_ns(self._parts.clock.now() + later)
            self._poll_at_ns = now + later
        if reconcile:
            self._reconcile_at_ns = now + int(self._options.reconcile_s * NS)

    async def _take(self, session: ZkSession, facts: Sequence[Fact]) -> None:
        events: list[Event] = []
        for fact in facts:
            if isinstance(fact, Event):
                events.append(fact)
                continue
            await self._take_events(session, events)
            events = []
            await self._take_fact(session, fact)
        await self._take_events(session, events)
        if self._is_caught_up:
            self._report()
        rubbish = [fact for fact in facts if isinstance(fact, Rubbish)]
        if rubbish:
            raise ProtocolError(f"{rubbish[0].skipped} bytes are no frame", field="frame")

    async def _take_fact(self, session: ZkSession, fact: Fact) -> None:
        match fact:
            case Identified():
                self._parts.health.describe(
                    maker=self._parts.profile.maker,
                    model=fact.model,
                    firmware=fact.firmware,
                    serial=fact.serial,
                )
            case ClockRead():
                await self._take_clock(session, fact)
            case Stored():
                await self._take_stored(fact)
                await self._catch_up(session)
            case NothingNew():
                self._complaints.pop("backfill", None)
            case BackfillFailed():
                self._complaints["backfill"] = f"读取打卡记录失败（{fact.reason}），稍后重试"
                await self._catch_up(session)
            case LiveRefused():
                self._note = f"终端不支持实时事件，每 {self._options.reconcile_s:g} 秒补采一次"
            case OtherEvent():
                self._log.info("other_event", code=fact.code, data=fact.data[:64].hex())
            case _:
                pass  # Rubbish is judged when everything else is safe; events came before

    async def _catch_up(self, session: ZkSession) -> None:
        """The first back-fill is done: now what came live meanwhile."""
        self._is_caught_up = True
        held, self._held = self._held, []
        await self._take_events(session, held)

    async def _take_events(self, session: ZkSession, events: list[Event]) -> None:
        if not events:
            return
        if not self._is_caught_up and len(self._held) < _MOST_HELD:
            self._held += events
            return
        scans = []
        for event in events:
            for record in event.records:
                if isinstance(record, Unreadable):
                    self._log.warning(
                        "unreadable_event", reason=record.reason, raw=record.raw.hex()
                    )
                    session.backfill(self._parts.clock.monotonic_ns())
                else:
                    scans.append(number_live(record))
        is_safe = await self._accept(scans, "live")
        if is_safe and self._quirks.acknowledge_events:
            for event in events:
                session.acknowledge(event)

    async def _take_stored(self, stored: Stored) -> None:
        self._complaints.pop("backfill", None)
        scans, unreadable = await asyncio.to_thread(_read_stored, stored)
        self._complaints.pop("unreadable", None)
        if unreadable:
            self._complaints["unreadable"] = f"终端里有 {unreadable} 条记录无法识别"
        self._known_count = None
        new = []
        for at in range(0, len(scans), _LOOKUP):
            part = scans[at : at + _LOOKUP]
            known = await self._parts.events.known([scan.key for scan in part])
            new += [scan for scan in part if scan.key not in known]
        for at in range(0, len(new), _BATCH):
            if not await self._accept(new[at : at + _BATCH], "stored"):
                return
        self._known_count = stored.count
        if new:
            self._log.info("backfilled", punches=len(new), stored=stored.count)

    async def _accept(self, scans: Sequence[Numbered], origin: Origin) -> bool:
        """Hand scans over in their order; false when the spool refuses and the terminal keeps them.

        They are handed over at once, so that the spool can commit them together.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for scan in scans:
                    body = punch(scan, origin=origin, offset_ms=self._terminal_clock.offset_ms)
                    group.create_task(self._accept_one(body))
        except* Unavailable as refused:
            self._complaints["spool"] = str(refused.exceptions[0])
            self._known_count = None
            is_safe = False
        else:
            self._complaints.pop("spool", None)
            is_safe = True
        return is_safe

    async def _accept_one(self, body: Punched) -> None:
        is_new = await self._parts.events.accept(
            Punched.TYPE,
            "punch",
            body=body.model_dump(mode="json"),
            observed_ns=self._parts.clock.now(),
            clock=self._parts.clock_quality(),
            key=body.key,
        )
        if is_new and body.origin == "live" and self._known_count is not None:
            self._known_count += 1

    async def _take_clock(self, session: ZkSession, read: ClockRead) -> None:
        clock = self._parts.clock
        self._terminal_clock.take(
            read,
            now=clock.now(),
            monotonic_ns=clock.monotonic_ns(),
            utc_offset_minutes=self._options.utc_offset_minutes,
        )
        offset = self._terminal_clock.offset_ms
        if offset is None:
            return
        self._parts.health.clock_offset(offset)
        await self._tell_offset(offset, round_trip_ms(read))
        if self._quirks.set_clock and abs(offset) > _CLOCK_NEWS_MS:
            now = local_time(clock.now(), utc_offset_minutes=self._options.utc_offset_minutes)
            self._terminal_clock.forget()
            session.set_clock(now, clock.monotonic_ns())
            session.poll_clock(clock.monotonic_ns())
            self._log.warning("terminal_clock_set", offset_ms=offset)

    async def _tell_offset(self, offset: int, round_trip: int) -> None:
        """Record the offset as evidence: at first, when it moved, and every hour."""
        now = self._parts.clock.monotonic_ns()
        is_news = (
            self._told_offset_ms is None
            or abs(offset - self._told_offset_ms) > _CLOCK_NEWS_MS
            or now - self._told_offset_ns > _CLOCK_EVERY_S * NS
        )
        if not is_news:
            return
        measured = ClockMeasured(
            offset_ms=offset, round_trip_ms=round_trip, error_ms=self._terminal_clock.error_ms
        )
        try:
            await self._parts.events.accept(
                ClockMeasured.TYPE,
                "clock",
                body=measured.model_dump(),
                observed_ns=self._parts.clock.now(),
                clock=self._parts.clock_quality(),
            )
        except Unavailable as exc:
            self._complaints["spool"] = str(exc)
            return
        self._told_offset_ms, self._told_offset_ns = offset, now

    def _report(self) -> None:
        health, offset = self._parts.health, self._terminal_clock.offset_ms
        if "spool" in self._complaints:
            health.report("degraded", "spool_full", self._complaints["spool"])
        elif offset is not None and abs(offset) > CLOCK_LIMIT_MS:
            health.report(
                "degraded",
                "clock_wrong",
                f"指纹机时钟{describe_offset(offset)}：请在终端菜单“日期时间”里校准"
                "（打卡时间已按测得的偏差换算）",
            )
        elif self._complaints:
            health.report("degraded", "protocol_garbage", "；".join(self._complaints.values()))
        else:
            health.report("online", "ok", self._note)


def _read_stored(stored: Stored) -> tuple[list[Numbered], int]:
    """The newest scans with their keys, and how many records make no sense."""
    records = stored.read()
    readable = [record for record in records if isinstance(record, Attendance)]
    return number_stored(readable)[-_MOST_STORED:], len(records) - len(readable)


def _quirks(parts: DriverParts) -> ZkQuirks:
    try:
        return ZkQuirks.model_validate(dict(parts.profile.quirks))
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            first["msg"], field=f"{parts.profile.name}.toml: quirks.{field}"
        ) from exc


def _read_key(path: Path | None) -> int:
    """The communication key.

    Raises:
        Denied: the file cannot be read, or holds no number.
    """
    if path is None:
        return 0
    try:
        key = int(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as exc:
        raise Denied(f"{path} holds no communication key") from exc
    if not 0 <= key <= _MOST_KEY:
        raise Denied(f"{path} holds no communication key")
    return key


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "没有应答"
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
