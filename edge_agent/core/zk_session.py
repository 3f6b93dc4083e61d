"""One session with a ZKTeco terminal, without I/O.

Bytes and `now` come in; facts, bytes and a timer go out.

One request is outstanding at a time. `_TABLE` says for each state what is sent and where each reply
leads::

    CONNECT ─ok──────────────┐
       └─unauthorised─► AUTH ┴► SERIAL ► FIRMWARE ► MODEL ► CLOCK ► REGISTER ► (back-fill) ► LIVE
    back-fill:  COUNT ► PREPARE ► READ … READ ► FREE ► [USERS_PREPARE ► USERS_READ … ► USERS_FREE]
                ► RECOUNT ► LIVE          (PREPARE refused by an old terminal: DIRECT)

Events (command 500) may come in every state after REGISTER, between the pieces of a table too. They
are handed out as facts, and acknowledged to the terminal only when the caller says that they are
safe.

The count is read before and after the table, because a scan in between would shift what "length by
count" means; when it moved, the table is read again.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final

from contracts.errors import Denied, ProtocolError, Unavailable
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
from edge_agent.core.zk_frames import Command, Frame, FrameReader, Reply, encode, scramble_comm_key
from edge_agent.core.zk_records import (
    Attendance,
    Counters,
    TerminalTime,
    Unreadable,
    attendance_width,
    decode_time,
    encode_time,
    parse_counters,
    parse_event,
    parse_users,
    with_user,
)

EF_ATTLOG: Final = 1
CHUNK_BYTES: Final = 0xFFC0
MOST_TABLE_BYTES: Final = 64 * 1024 * 1024
MOST_ATTEMPTS: Final = 3
_ATTENDANCE_TABLE: Final = bytes.fromhex("010d000000000000000000")
_USERS_TABLE: Final = bytes.fromhex("0109000500000000000000")
_SMALL_WIDTH: Final = 8
_NS: Final = 1_000_000_000


class State(Enum):
    """Where a session stands; each but IDLE, LIVE and CLOSED awaits one reply."""

    IDLE = auto()
    CONNECT = auto()
    AUTH = auto()
    SERIAL = auto()
    FIRMWARE = auto()
    MODEL = auto()
    CLOCK = auto()
    REGISTER = auto()
    LIVE = auto()
    POLL = auto()
    SET_CLOCK = auto()
    COUNT = auto()
    PREPARE = auto()
    READ = auto()
    DIRECT = auto()
    FREE = auto()
    USERS_PREPARE = auto()
    USERS_READ = auto()
    USERS_FREE = auto()
    RECOUNT = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZkOptions:
    """What a session must know of its terminal.

    Attributes:
        comm_key: the communication key set in the terminal's menu; 0 is "none".
        reply_ns: how long one reply may take.
        event_width: live record width pinned by the profile; None: by length.
        record_width: stored record width pinned by the profile; None: length by count.
    """

    comm_key: int = 0
    reply_ns: int = 10 * _NS
    event_width: int | None = None
    record_width: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """One row of the table: what is sent, and what each reply does.

    `takes` turns the reply into the next state; `refused` is the next state when the
    terminal says that it cannot; None means that the session cannot go on without it. `bulk`
    replies may come as PREPARE_DATA, DATA…, OK.
    """

    command: int
    request: Callable[["ZkSession"], bytes]
    takes: Callable[["ZkSession", Frame], State]
    refused: State | None = None
    bulk: bool = False


class ZkSession:
    """The client side of one TCP connection.

    Feed it with `start`, `receive` and `handle_timer`; after each, send `data_to_send` and arm
    `timer_ns`. Facts come back in the order of the wire.
    """

    def __init__(self, options: ZkOptions) -> None:
        self._options = options
        self._reader = FrameReader()
        self._out = bytearray()
        self._facts: list[Fact] = []
        self._state = State.IDLE
        self._session = 0
        self._reply = -1
        self._asked_ns = 0
        self._now = 0
        self._deadline_ns: int | None = None
        self._skipped = 0
        self._identity = {"serial": "", "firmware": "", "model": ""}
        self._expected: int | None = None
        self._bulk = bytearray()
        self._size = 0
        self._table = bytearray()
        self._attendance = b""
        self._users: dict[int, str] = {}
        self._has_users = False
        self._needs_users = False
        self._known: int | None = None
        self._before = Counters(users=0, attendances=0, attendance_capacity=0)
        self._attempts = 0
        self._wanted: list[State] = []
        self._new_time = TerminalTime(2000, 1, 1, 0, 0, 0)

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._state

    @property
    def timer_ns(self) -> int | None:
        """Monotonic time at which `handle_timer` wants to be called."""
        return self._deadline_ns

    @property
    def is_idle(self) -> bool:
        """Nothing is asked and nothing waits to be asked."""
        return self._state is State.LIVE and not self._wanted

    def start(self, now: int) -> None:
        """Begin: the connection is up. `now`: monotonic nanoseconds."""
        self._now = now
        self._wanted.append(State.COUNT)
        self._enter(State.CONNECT)

    def poll_clock(self, now: int) -> None:
        """Ask the terminal for its time; also shows that it is still there."""
        self._want(State.POLL, now)

    def set_clock(self, time: TerminalTime, now: int) -> None:
        """Set the terminal's clock."""
        self._new_time = time
        self._want(State.SET_CLOCK, now)

    def backfill(self, now: int, *, known: int | None = None) -> None:
        """Read every stored scan; gives `Stored`, `NothingNew` or `BackfillFailed`.

        Args:
            now: monotonic nanoseconds.
            known: when the terminal holds just so many, the transfer is spared.
        """
        self._known = known
        self._want(State.COUNT, now)

    def acknowledge(self, event: Event) -> None:
        """Tell the terminal that an event is safe."""
        self._send(Reply.OK, event.reply, b"")

    def close(self) -> None:
        """Take leave of the terminal."""
        if self._state not in {State.IDLE, State.CONNECT, State.CLOSED}:
            self._send(Command.EXIT, self._next_reply(), b"")
        self._state = State.CLOSED
        self._deadline_ns = None

    def data_to_send(self) -> bytes:
        """Bytes for the wire; each call empties them."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def receive(self, data: bytes, now: int) -> list[Fact]:
        """Take bytes from the terminal.

        Raises:
            ProtocolError: the terminal breaks the protocol.
            Denied: it wants another communication key.
        """
        self._now = now
        for frame in self._reader.feed(data):
            self._take(frame)
        if self._reader.skipped != self._skipped:
            self._facts.append(Rubbish(skipped=self._reader.skipped - self._skipped))
            self._skipped = self._reader.skipped
        facts, self._facts = self._facts, []
        return facts

    def handle_timer(self, now: int) -> None:
        """Notice that a reply is overdue.

        Raises:
            Unavailable: it is.
        """
        if self._deadline_ns is not None and now >= self._deadline_ns:
            raise Unavailable(
                f"no reply to {self._state.name} in {self._options.reply_ns / _NS:g} s"
            )

    def _want(self, state: State, now: int) -> None:
        self._now = now
        if state not in self._wanted:
            self._wanted.append(state)
        if self._state is State.LIVE:
            self._enter(State.LIVE)

    def _enter(self, state: State) -> None:
        if state is State.LIVE and self._wanted:
            state = self._wanted.pop(0)
            self._attempts = 0
        self._state = state
        self._expected = None
        self._bulk.clear()
        exchange = self._TABLE.get(state)
        if exchange is None:
            self._deadline_ns = None
            return
        self._asked_ns = self._now
        self._deadline_ns = self._now + self._options.reply_ns
        self._send(exchange.command, self._next_reply(), exchange.request(self))

    def _next_reply(self) -> int:
        self._reply = (self._reply + 1) % 0xFFFF
        return self._reply

    def _send(self, command: int, reply: int, data: bytes) -> None:
        self._out += encode(Frame(command=command, session=self._session, reply=reply, data=data))

    def _take(self, frame: Frame) -> None:
        if frame.command == Command.REG_EVENT:
            self._take_event(frame)
            return
        exchange = self._TABLE.get(self._state)
        if exchange is None or frame.reply != self._reply:
            return  # an answer to a question that we gave up
        if self._state is State.CONNECT:
            self._session = frame.session
        if exchange.bulk and self._take_bulk(exchange, frame):
            return
        if frame.command in (Reply.OK, Reply.DATA):
            self._enter(exchange.takes(self, frame))
        elif frame.command == Reply.UNAUTHORISED:
            self._refuse_entry()
        elif frame.command in (Reply.ERROR, Reply.UNKNOWN) and exchange.refused is not None:
            self._go_without(exchange.refused)
        else:
            raise ProtocolError(
                f"reply {frame.command} to {self._state.name}", field="frame.command"
            )

    def _take_event(self, frame: Frame) -> None:
        if frame.session != EF_ATTLOG:
            self._send(Reply.OK, frame.reply, b"")
            self._facts.append(OtherEvent(code=frame.session, data=frame.data))
            return
        try:
            records = parse_event(frame.data, width=self._options.event_width)
        except ProtocolError as exc:
            records = [Unreadable(reason=str(exc), raw=frame.data)]
        if not self._has_users and any(_is_nameless(record) for record in records):
            # The stored form of this scan will bear the user's id; a live form with only the
            # internal number would be taken for another scan.
            self._needs_users = True
            self.backfill(self._now)
            return
        named = tuple(with_user(record, self._users) for record in records)
        self._facts.append(Event(records=named, reply=frame.reply))

    def _take_bulk(self, exchange: _Exchange, frame: Frame) -> bool:
        """Collect a reply in pieces; true when the frame was a piece of one."""
        if frame.command == Reply.PREPARE_DATA and self._expected is None:
            self._expected = _number(frame.data, 0)
            if self._expected > MOST_TABLE_BYTES:
                raise ProtocolError(f"{self._expected} bytes are too many", field="data")
        elif frame.command == Reply.DATA and self._expected is not None:
            self._bulk += frame.data
            if len(self._bulk) > self._expected:
                raise ProtocolError(
                    f"more than the announced {self._expected} bytes came", field="data"
                )
        elif frame.command == Reply.OK and self._expected is not None:
            if len(self._bulk) != self._expected:
                raise ProtocolError(
                    f"{self._expected} bytes announced, {len(self._bulk)} came", field="data"
                )
            whole = Frame(command=Reply.DATA, session=0, reply=frame.reply, data=bytes(self._bulk))
            self._enter(exchange.takes(self, whole))
            return True
        else:
            return False
        self._deadline_ns = self._now + self._options.reply_ns
        return True

    def _refuse_entry(self) -> None:
        if self._state is State.CONNECT:
            self._enter(State.AUTH)
            return
        raise Denied("the terminal refuses the communication key")

    def _go_without(self, state: State) -> None:
        if self._state is State.REGISTER:
            self._facts.append(LiveRefused())
        elif state is State.LIVE and self._state is not State.SET_CLOCK:
            self._facts.append(BackfillFailed(reason=f"refused {self._state.name}"))
        self._enter(state)

    # What is asked, where it is not constant.

    def _nothing(self) -> bytes:
        return b""

    def _proof(self) -> bytes:
        return scramble_comm_key(self._options.comm_key, self._session)

    def _time_to_set(self) -> bytes:
        return struct.pack("<I", encode_time(self._new_time))

    def _next_chunk(self) -> bytes:
        offset = len(self._table)
        return struct.pack("<II", offset, min(CHUNK_BYTES, self._size - offset))

    # What replies do, in the order of the states.

    def _take_entry(self, _frame: Frame) -> State:
        return State.SERIAL

    def _take_serial(self, frame: Frame) -> State:
        self._identity["serial"] = _option(frame.data)
        return State.FIRMWARE

    def _take_firmware(self, frame: Frame) -> State:
        self._identity["firmware"] = _option(frame.data)
        return State.MODEL

    def _take_model(self, frame: Frame) -> State:
        self._identity["model"] = _option(frame.data)
        return State.CLOCK

    def _take_clock(self, frame: Frame) -> State:
        first = self._state is State.CLOCK
        if first:
            self._facts.append(Identified(**self._identity))
        time = decode_time(_number(frame.data, 0))
        self._facts.append(ClockRead(time=time, asked_ns=self._asked_ns, answered_ns=self._now))
        return State.REGISTER if first else State.LIVE

    def _take_done(self, _frame: Frame) -> State:
        return State.LIVE

    def _take_count(self, frame: Frame) -> State:
        self._before = parse_counters(frame.data)
        count, capacity = self._before.attendances, self._before.attendance_capacity
        is_rolling = 0 < capacity <= count  # a full store forgets the oldest for the newest
        if self._known == count and not is_rolling and not self._needs_users:
            self._facts.append(NothingNew())
            return State.LIVE
        return self._finish(0) if count == 0 else State.PREPARE

    def _take_prepared(self, frame: Frame) -> State:
        return self._prepared(frame, State.READ, self._take_table)

    def _take_read(self, frame: Frame) -> State:
        return self._chunk(frame, State.READ, self._take_table)

    def _take_direct(self, frame: Frame) -> State:
        self._attendance = frame.data
        return self._after_attendance()

    def _take_table(self, table: bytes) -> State:
        self._attendance = table
        return State.FREE

    def _take_freed(self, _frame: Frame) -> State:
        return self._after_attendance()

    def _after_attendance(self) -> State:
        small = len(self._attendance) == 4 + self._before.attendances * _SMALL_WIDTH
        if (small or self._needs_users) and self._before.users:
            return State.USERS_PREPARE
        return State.RECOUNT

    def _take_users_prepared(self, frame: Frame) -> State:
        return self._prepared(frame, State.USERS_READ, self._take_users)

    def _take_users_read(self, frame: Frame) -> State:
        return self._chunk(frame, State.USERS_READ, self._take_users)

    def _take_users(self, table: bytes) -> State:
        users = parse_users(table, count=self._before.users)
        self._users = {user.uid: user.user for user in users}
        self._has_users, self._needs_users = True, False
        return State.USERS_FREE

    def _take_users_freed(self, _frame: Frame) -> State:
        return State.RECOUNT

    def _take_recount(self, frame: Frame) -> State:
        after = parse_counters(frame.data)
        if after.attendances != self._before.attendances:
            self._attempts += 1
            if self._attempts < MOST_ATTEMPTS:
                return State.COUNT
            self._facts.append(BackfillFailed(reason="scans came in during every attempt"))
            return State.LIVE
        try:
            width = attendance_width(
                self._attendance, count=after.attendances, width=self._options.record_width
            )
        except ProtocolError as exc:
            self._facts.append(BackfillFailed(reason=str(exc)))
            return State.LIVE
        return self._finish(width)

    def _finish(self, width: int) -> State:
        stored = Stored(
            count=self._before.attendances,
            capacity=self._before.attendance_capacity,
            body=self._attendance,
            width=width,
            users=dict(self._users),
        )
        self._facts.append(stored)
        self._attendance = b""
        return State.LIVE

    def _prepared(self, frame: Frame, read: State, done: Callable[[bytes], State]) -> State:
        """Reply to "prepare a table": the table itself when it is small, else its size."""
        self._table.clear()
        if frame.command == Reply.DATA:
            return done(frame.data)
        self._size = _number(frame.data, 1)
        if not 0 < self._size <= MOST_TABLE_BYTES:
            raise ProtocolError(f"a table of {self._size} bytes cannot be", field="table")
        return read

    def _chunk(self, frame: Frame, again: State, done: Callable[[bytes], State]) -> State:
        self._table += frame.data
        if not frame.data or len(self._table) > self._size:
            raise ProtocolError(f"{len(self._table)} of {self._size} bytes came", field="table")
        return again if len(self._table) < self._size else done(bytes(self._table))

    _TABLE: ClassVar[dict[State, _Exchange]] = {
        State.CONNECT: _Exchange(command=Command.CONNECT, request=_nothing, takes=_take_entry),
        State.AUTH: _Exchange(
            command=Command.AUTH,
            request=_proof,
            takes=_take_entry,
        ),
        State.SERIAL: _Exchange(
            command=Command.OPTIONS_READ,
            request=lambda _: b"~SerialNumber\0",
            takes=_take_serial,
            refused=State.FIRMWARE,
        ),
        State.FIRMWARE: _Exchange(
            command=Command.VERSION,
            request=_nothing,
            takes=_take_firmware,
            refused=State.MODEL,
        ),
        State.MODEL: _Exchange(
            command=Command.OPTIONS_READ,
            request=lambda _: b"~DeviceName\0",
            takes=_take_model,
            refused=State.CLOCK,
        ),
        State.CLOCK: _Exchange(command=Command.TIME_READ, request=_nothing, takes=_take_clock),
        State.POLL: _Exchange(command=Command.TIME_READ, request=_nothing, takes=_take_clock),
        State.SET_CLOCK: _Exchange(
            command=Command.TIME_WRITE,
            request=_time_to_set,
            takes=_take_done,
            refused=State.LIVE,
        ),
        State.REGISTER: _Exchange(
            command=Command.REG_EVENT,
            request=lambda _: struct.pack("<I", EF_ATTLOG),
            takes=_take_done,
            refused=State.LIVE,
        ),
        State.COUNT: _Exchange(command=Command.FREE_SIZES, request=_nothing, takes=_take_count),
        State.PREPARE: _Exchange(
            command=Command.BUFFER_PREPARE,
            request=lambda _: _ATTENDANCE_TABLE,
            takes=_take_prepared,
            refused=State.DIRECT,
            bulk=True,
        ),
        State.READ: _Exchange(
            command=Command.BUFFER_READ,
            request=_next_chunk,
            takes=_take_read,
            bulk=True,
        ),
        State.DIRECT: _Exchange(
            command=Command.ATTENDANCE_READ,
            request=_nothing,
            takes=_take_direct,
            refused=State.LIVE,
            bulk=True,
        ),
        State.FREE: _Exchange(
            command=Command.BUFFER_FREE,
            request=_nothing,
            takes=_take_freed,
            refused=State.RECOUNT,
        ),
        State.USERS_PREPARE: _Exchange(
            command=Command.BUFFER_PREPARE,
            request=lambda _: _USERS_TABLE,
            takes=_take_users_prepared,
            refused=State.RECOUNT,
            bulk=True,
        ),
        State.USERS_READ: _Exchange(
            command=Command.BUFFER_READ,
            request=_next_chunk,
            takes=_take_users_read,
            bulk=True,
        ),
        State.USERS_FREE: _Exchange(
            command=Command.BUFFER_FREE,
            request=_nothing,
            takes=_take_users_freed,
            refused=State.RECOUNT,
        ),
        State.RECOUNT: _Exchange(command=Command.FREE_SIZES, request=_nothing, takes=_take_recount),
    }


def _is_nameless(record: Attendance | Unreadable) -> bool:
    return isinstance(record, Attendance) and not record.user


def _number(data: bytes, at: int) -> int:
    if len(data) < at + 4:
        raise ProtocolError(f"{len(data)} bytes are too few", field="data")
    return int.from_bytes(data[at : at + 4], "little")


def _option(data: bytes) -> str:
    """The value of ``~Name=value``; firmware versions come without a name."""
    text = data.split(b"\0")[0].decode("utf-8", errors="replace")
    _, equals, value = text.partition("=")
    return "".join(c for c in (value if equals else text) if c.isprintable())[:64]
