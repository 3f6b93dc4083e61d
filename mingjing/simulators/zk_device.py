"""A ZKTeco terminal without I/O: frames of a client in, frames out; scans become records.

Written from the same protocol notes as the driver, with its own record writers; an independent
client (pyzk) proves it in `tests/integration/peers`.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from contracts.timestamps import WallTime
from edge_agent.core.zk_frames import Command, Frame, Reply, encode, scramble_comm_key
from edge_agent.core.zk_records import TerminalTime, decode_time, encode_time, local_time

VERIFY: Final = {"password": 0, "finger": 1, "card": 2, "face": 15}
DIRECTION: Final = {
    "in": 0,
    "out": 1,
    "break_out": 2,
    "break_in": 3,
    "overtime_in": 4,
    "overtime_out": 5,
}
INLINE_BYTES: Final = 1024
MOST_FRAMES_PER_SEGMENT: Final = 50
_NS: Final = 1_000_000_000
_QUIET_COMMANDS: Final = frozenset({1002, 1003, 60, 61, 62, 31, 1013, 1014, 12})
_TABLES: Final = {Command.ATTENDANCE_READ: "attendances", Command.USERS_READ: "users"}
_ID_BYTES: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """What kind of terminal it is.

    Attributes:
        event_width: bytes of a live record: 32, 36, 37, 52 (text ids), 12 (numeric ids).
        record_width: bytes of a stored record: 40, 16 or 8.
        utc_offset_minutes: its zone, which the protocol never mentions.
    """

    serial: str = "SIM0000001"
    model: str = "F19"
    firmware: str = "Ver 6.60 Sep 27 2019"
    comm_key: int = 0
    users: tuple[str, ...] = ("1001",)
    event_width: int = 32
    record_width: int = 40
    capacity: int = 100_000
    utc_offset_minutes: int = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One accepted finger."""

    user: str
    direction: str
    verify: str
    time: TerminalTime


@dataclass(slots=True)
class Session:
    """What the terminal remembers of one client."""

    number: int
    authorised: bool = False
    listens: bool = False
    buffer: bytes = b""
    acknowledged: int = 0


@dataclass(slots=True)
class ZkDevice:
    """The terminal: its store, its clock and its answers."""

    options: DeviceOptions
    scans: list[Scan] = field(default_factory=list)
    clock_offset_s: float = 0.0
    refuses_live: bool = False
    _sessions: int = 0
    _last_second: int = 0

    def open_session(self) -> Session:
        """A client connected."""
        self._sessions += 1
        return Session(number=(0x4E00 + self._sessions * 0x107) & 0xFFFF)

    def time(self, now: int) -> TerminalTime:
        """What its display shows at wall time `now`."""
        shown = now + int(self.clock_offset_s * _NS)
        return local_time(shown, utc_offset_minutes=self.options.utc_offset_minutes)

    def scan(self, user: str, *, direction: str = "in", verify: str = "finger", now: int) -> Scan:
        """Store one scan at its own time."""
        scan = Scan(user=user, direction=direction, verify=verify, time=self.time(now))
        self._last_second = max(self._last_second, now // _NS)
        self.scans.append(scan)
        return scan

    def burst(self, count: int, *, user: str, now: int) -> list[Scan]:
        """Store `count` scans, one a second and the last one now, in and out by turns.

        Never two in one second, so that each is told from every other.
        """
        first = max(self._last_second + 1, now // _NS - count + 1)
        return [
            self.scan(user, direction=("in", "out")[n % 2], now=WallTime((first + n) * _NS))
            for n in range(count)
        ]

    def event(self, scan: Scan) -> bytes:
        """The live frame of a scan."""
        return encode(
            Frame(command=Command.REG_EVENT, session=1, reply=0, data=self._live_record(scan))
        )

    def answer(self, session: Session, frame: Frame, now: int) -> bytes:
        """Bytes that the terminal sends in answer to one frame of a client."""
        if frame.command == Reply.OK:
            session.acknowledged += 1
            return b""
        if frame.command == Command.CONNECT:
            session.authorised = self.options.comm_key == 0
            return self._reply(
                session, frame, Reply.OK if session.authorised else Reply.UNAUTHORISED
            )
        if frame.command == Command.AUTH:
            expected = scramble_comm_key(self.options.comm_key, session.number)
            session.authorised = frame.data[:4] == expected
        if not session.authorised:
            return self._reply(session, frame, Reply.UNAUTHORISED)
        handler = _HANDLERS.get(frame.command)
        if handler is not None:
            return handler(self, session, frame, now)
        known = frame.command in _QUIET_COMMANDS or frame.command in (Command.AUTH, Command.EXIT)
        return self._reply(session, frame, Reply.OK if known else Reply.UNKNOWN)

    def read_option(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Command 11."""
        name = frame.data.split(b"\0")[0].decode("ascii", errors="replace")
        options = {"~SerialNumber": self.options.serial, "~DeviceName": self.options.model}
        if name not in options:
            return self._reply(session, frame, Reply.ERROR)
        return self._reply(session, frame, Reply.OK, f"{name}={options[name]}\0".encode())

    def read_version(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Command 1100."""
        return self._reply(session, frame, Reply.OK, self.options.firmware.encode() + b"\0")

    def read_time(self, session: Session, frame: Frame, now: int) -> bytes:
        """Command 201."""
        value = encode_time(self.time(now))
        return self._reply(session, frame, Reply.OK, struct.pack("<I", value))

    def write_time(self, session: Session, frame: Frame, now: int) -> bytes:
        """Command 202."""
        if len(frame.data) < 4:  # noqa: PLR2004 - a u32
            return self._reply(session, frame, Reply.ERROR)
        wanted = decode_time(int.from_bytes(frame.data[:4], "little"))
        wall = wanted.wall(utc_offset_minutes=self.options.utc_offset_minutes)
        self.clock_offset_s = (wall - now) / _NS
        return self._reply(session, frame, Reply.OK)

    def register(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Command 500."""
        if self.refuses_live:
            return self._reply(session, frame, Reply.ERROR)
        session.listens = bool(int.from_bytes(frame.data[:4], "little") & 1)
        return self._reply(session, frame, Reply.OK)

    def read_sizes(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Command 50."""
        fields = [0] * 23
        fields[4], fields[8] = len(self.options.users), len(self.scans)
        fields[15], fields[16] = 10_000, self.options.capacity
        fields[19] = self.options.capacity - len(self.scans)
        return self._reply(session, frame, Reply.OK, struct.pack("<23i", *fields))

    def prepare_buffer(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Command 1503: small tables at once, large ones to be read in pieces."""
        if len(frame.data) != 11:  # noqa: PLR2004 - 01, command, fct, ext
            return self._reply(session, frame, Reply.ERROR)
        command = int.from_bytes(frame.data[1:3], "little")
        if command not in _TABLES:
            return self._reply(session, frame, Reply.ERROR)
        table = self._table(command)
        if len(table) <= INLINE_BYTES:
            return self._reply(session, frame, Reply.DATA, table)
        session.buffer = table
        sizes = struct.pack("<BII", 0, len(table), len(table))
        return self._reply(session, frame, Reply.OK, sizes)

    def read_buffer(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Command 1504."""
        if len(frame.data) != 8:  # noqa: PLR2004 - offset, size
            return self._reply(session, frame, Reply.ERROR)
        offset, size = struct.unpack("<II", frame.data)
        return self._pieces(session, frame, session.buffer[offset : offset + size])

    def free_buffer(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Command 1502."""
        session.buffer = b""
        return self._reply(session, frame, Reply.OK)

    def read_table(self, session: Session, frame: Frame, _now: int) -> bytes:
        """Commands 13 and 9 of old clients: the whole table in pieces."""
        return self._pieces(session, frame, self._table(frame.command))

    def _pieces(self, session: Session, frame: Frame, data: bytes) -> bytes:
        size = struct.pack("<II", len(data), 0)
        return (
            self._reply(session, frame, Reply.PREPARE_DATA, size)
            + self._reply(session, frame, Reply.DATA, data)
            + self._reply(session, frame, Reply.OK)
        )

    def _reply(self, session: Session, frame: Frame, code: int, data: bytes = b"") -> bytes:
        return encode(Frame(command=code, session=session.number, reply=frame.reply, data=data))

    def _table(self, command: int) -> bytes:
        if command == Command.ATTENDANCE_READ:
            body = b"".join(map(self._stored_record, self.scans))
        else:
            body = b"".join(
                _user_record(uid, user) for uid, user in enumerate(self.options.users, start=1)
            )
        return struct.pack("<I", len(body)) + body

    def _uid(self, user: str) -> int:
        users = self.options.users
        return users.index(user) + 1 if user in users else 0

    def _stored_record(self, scan: Scan) -> bytes:
        verify, state = VERIFY[scan.verify], DIRECTION[scan.direction]
        time = encode_time(scan.time)
        uid = self._uid(scan.user)
        if self.options.record_width == 40:  # noqa: PLR2004 - a width
            return struct.pack("<H24sBIB8x", uid, scan.user.encode(), verify, time, state)
        if self.options.record_width == 16:  # noqa: PLR2004 - a width
            return struct.pack("<IIBB2xI", int(scan.user), time, verify, state, 0)
        return struct.pack("<HBIB", uid, verify, time, state)

    def _live_record(self, scan: Scan) -> bytes:
        width = self.options.event_width
        year, *rest = scan.time
        tail = bytes((VERIFY[scan.verify], DIRECTION[scan.direction], year - 2000, *rest))
        if width >= _ID_BYTES + len(tail):
            head = scan.user.encode()[:_ID_BYTES].ljust(_ID_BYTES, b"\0")
        elif width == 12:  # noqa: PLR2004 - a width
            head = struct.pack("<I", int(scan.user))
        else:
            head = struct.pack("<H", self._uid(scan.user))
        return (head + tail).ljust(width, b"\0")


def _user_record(uid: int, user: str) -> bytes:
    name = f"U{user}".encode()[:_ID_BYTES]
    return struct.pack("<HB8s24sIB8s24s", uid, 0, b"", name, 0, 1, b"", user.encode())


_Handler = Callable[[ZkDevice, Session, Frame, int], bytes]
_HANDLERS: Final[dict[int, _Handler]] = {
    Command.OPTIONS_READ: ZkDevice.read_option,
    Command.VERSION: ZkDevice.read_version,
    Command.TIME_READ: ZkDevice.read_time,
    Command.TIME_WRITE: ZkDevice.write_time,
    Command.REG_EVENT: ZkDevice.register,
    Command.FREE_SIZES: ZkDevice.read_sizes,
    Command.BUFFER_PREPARE: ZkDevice.prepare_buffer,
    Command.BUFFER_READ: ZkDevice.read_buffer,
    Command.BUFFER_FREE: ZkDevice.free_buffer,
    Command.ATTENDANCE_READ: ZkDevice.read_table,
    Command.USERS_READ: ZkDevice.read_table,
}
