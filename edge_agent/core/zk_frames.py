"""Frames of the ZKTeco standalone protocol, TCP form (port 4370): bytes to frames and back.

A frame on TCP is ``50 50 82 7D``, a little-endian u32 length n, then n bytes: command, checksum,
session and reply number (u16 each) and the data. TCP knows no frames: one may come in many pieces,
and terminals send up to dozens of events in one segment, so `FrameReader` takes any split. Bytes
that make no frame are skipped up to the next magic and counted, because a terminal that was
interrupted in mid-frame continues with a fresh one.

Source: reverse-engineered protocol notes (adrobinoga/zk-protocol) and captures; see
`tests/vectors/zk`.
"""

import struct
from dataclasses import dataclass
from typing import Final

from contracts.errors import ProtocolError

MAGIC: Final = b"\x50\x50\x82\x7d"
MOST_FRAME_BYTES: Final = 16 * 1024 * 1024
MOST_SKIPPED_BYTES: Final = 64 * 1024
"""This much rubbish in one session is no accident of the line."""
MOST_FALSE_FRAMES: Final = 16
"""Nor are this many frames with a wrong sum; each of them costs us its whole length."""

_TOP = struct.Struct("<4sI")
_HEADER = struct.Struct("<HHHH")
_U32 = 0xFFFFFFFF
_U16 = 0xFFFF
_KEY_MASK = b"ZKSO"


class Command:
    """Request codes that we send."""

    OPTIONS_READ: Final = 11
    ATTENDANCE_READ: Final = 13
    USERS_READ: Final = 9
    FREE_SIZES: Final = 50
    TIME_READ: Final = 201
    TIME_WRITE: Final = 202
    REG_EVENT: Final = 500
    CONNECT: Final = 1000
    EXIT: Final = 1001
    VERSION: Final = 1100
    AUTH: Final = 1102
    BUFFER_FREE: Final = 1502
    BUFFER_PREPARE: Final = 1503
    BUFFER_READ: Final = 1504


class Reply:
    """Reply codes that we understand."""

    PREPARE_DATA: Final = 1500
    DATA: Final = 1501
    OK: Final = 2000
    ERROR: Final = 2001
    UNAUTHORISED: Final = 2005
    UNKNOWN: Final = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One packet. In an event packet `session` holds the event code and `reply` is 0."""

    command: int
    session: int
    reply: int
    data: bytes = b""


def checksum(payload: bytes) -> int:
    """Checksum of header and data, the checksum field taken as zero.

    The sum of the little-endian words (an odd tail padded with zero), carries folded in, then the
    one's complement.
    """
    number = int.from_bytes(payload, "little")
    # Folding carries is arithmetic modulo 2^16 - 1, where zero is written as all ones.
    folded = number % _U16 or (_U16 if number else 0)
    return ~folded & _U16


def encode(frame: Frame) -> bytes:
    """Bytes of one frame for the wire."""
    bare = _HEADER.pack(frame.command, 0, frame.session, frame.reply) + frame.data
    header = _HEADER.pack(frame.command, checksum(bare), frame.session, frame.reply)
    return _TOP.pack(MAGIC, len(bare)) + header + frame.data


def scramble_comm_key(key: int, session: int, ticks: int = 50) -> bytes:
    """The 4 bytes that prove the communication key in AUTH. Obfuscation, not security."""
    turned = int(f"{key & _U32:032b}"[::-1], 2)
    mixed = ((turned + session) & _U32).to_bytes(4, "little")
    _, b, c, d = (x ^ y for x, y in zip(mixed, _KEY_MASK, strict=True))
    tick = ticks & 0xFF
    return bytes((c ^ tick, d ^ tick, tick, b ^ tick))


class FrameReader:
    """Reassembles frames from a byte stream, however it is split.

    Attributes:
        skipped: bytes that belonged to no valid frame so far.
        false_frames: how many of them began like a frame and had a wrong checksum.
    """

    def __init__(self, *, most_bytes: int = MOST_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._most_bytes = most_bytes
        self.skipped = 0
        self.false_frames = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as they came; return the frames they complete.

        Raises:
            ProtocolError: more rubbish than an interrupted frame can explain.
        """
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        while self._align() and len(self._buffer) >= _TOP.size:
            (_, length) = _TOP.unpack_from(self._buffer)
            if not _HEADER.size <= length <= self._most_bytes:
                self._skip(1)
                continue
            end = _TOP.size + length
            if len(self._buffer) < end:
                return None
            payload = bytes(self._buffer[_TOP.size : end])
            command, stated, session, reply = _HEADER.unpack_from(payload)
            if checksum(payload[:2] + b"\0\0" + payload[4:]) != stated:
                # Only the magic is certain to be false: a good frame may start inside.
                self.false_frames += 1
                self._skip(1)
                continue
            del self._buffer[:end]
            data = payload[_HEADER.size :]
            return Frame(command=command, session=session, reply=reply, data=data)
        return None

    def _align(self) -> bool:
        """Drop what stands before the next magic; false when none can begin here yet."""
        at = self._buffer.find(MAGIC)
        if at < 0:
            keep = _longest_prefix_at_end(self._buffer)
            self._skip(len(self._buffer) - keep)
            return False
        self._skip(at)
        return True

    def _skip(self, count: int) -> None:
        self.skipped += count
        del self._buffer[:count]
        if self.skipped > MOST_SKIPPED_BYTES or self.false_frames > MOST_FALSE_FRAMES:
            raise ProtocolError(
                f"{self.skipped} bytes are no ZK frames ({self.false_frames} wrong sums)",
                field="frame",
            )


def _longest_prefix_at_end(buffer: bytearray) -> int:
    for size in range(min(len(MAGIC) - 1, len(buffer)), 0, -1):
        if buffer.endswith(MAGIC[:size]):
            return size
    return 0
