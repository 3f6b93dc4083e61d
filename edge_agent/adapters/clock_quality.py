"""How far this machine's clock can be trusted, as the kernel says (``adjtimex``, Linux)."""

import ctypes
from typing import ClassVar

from contracts.timestamps import ClockQuality

_ERROR_STATE = 5
_UNSYNCHRONISED = 0x40
_US_PER_MS = 1000


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (linux/timex.h) and room for the rest."""

    _fields_: ClassVar = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    ]


def read_clock_quality() -> ClockQuality:
    """Whether a time service keeps the clock, and its largest error; asks, changes nothing."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return ClockQuality(source="holdover")
    if state in (-1, _ERROR_STATE) or timex.status & _UNSYNCHRONISED:
        return ClockQuality(source="holdover")
    return ClockQuality(source="ntp", error_ms=int(timex.maxerror) // _US_PER_MS + 1)
