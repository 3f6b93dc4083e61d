"""The capture time of a frame inside its access unit: SEI user_data_unregistered (H.264 D.1.7)."""

from uuid import UUID

from contracts.media import h264
from contracts.media.bits import add_emulation_prevention, strip_emulation_prevention
from contracts.timestamps import WallTime

CLOCK_UUID = UUID("5a0d8f3e-91c4-4b7e-8d26-3f1be07c9a54").bytes

_USER_DATA_UNREGISTERED = 5
_TIME_BYTES = 8


def build_clock_sei(wall: WallTime) -> bytes:
    """Return an SEI NAL unit that carries a wall time in nanoseconds."""
    body = CLOCK_UUID + wall.to_bytes(_TIME_BYTES, "big")
    message = bytes((_USER_DATA_UNREGISTERED, len(body))) + body + b"\x80"
    return bytes((h264.SEI,)) + add_emulation_prevention(message)


def read_clock_sei(payload: bytes) -> WallTime | None:
    """Return the wall time in a length-prefixed access unit, None when it has none.

    Raises:
        ProtocolError: the access unit's lengths do not fit.
    """
    for nal in h264.split_nals(payload):
        if h264.nal_type(nal) != h264.SEI or len(nal) > 64:  # noqa: PLR2004 - ours are short
            continue
        message = strip_emulation_prevention(nal[1:])
        at = message.find(CLOCK_UUID)
        start = at + len(CLOCK_UUID)
        if at >= 0 and len(message) >= start + _TIME_BYTES:
            return WallTime(int.from_bytes(message[start : start + _TIME_BYTES], "big"))
    return None
