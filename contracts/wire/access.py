"""Punches: raw scans of a fingerprint terminal."""

from typing import ClassVar, Literal

from contracts.wire.envelope import EventBody, Statement

Verify = Literal["password", "finger", "card", "face", "other"]
Direction = Literal["in", "out", "break_out", "break_in", "overtime_in", "overtime_out", "unknown"]


class Punched(EventBody):
    """Body of ``up/punch``. One attendance record of a terminal, live or fetched from its store.

    `key` names the record in the terminal, so that the live event and the stored record of the same
    scan are one punch: ``{user}|{time}|{verify}|{direction}|{n}``, `n` counting equal ones.
    """

    TYPE: ClassVar[str] = "punch"
    key: str
    terminal_user: str
    terminal_time: str
    """What the terminal said: local time without zone, ``YYYY-MM-DDTHH:MM:SS``."""
    verify: Verify
    direction: Direction
    origin: Literal["live", "stored"]
    terminal_offset_ms: int | None = None
    """The terminal's clock minus ours when last measured; None before the first measurement."""
    raw: str
    """The record's bytes in hex, as evidence."""


class PunchFact(Statement):
    """A punch as the gateway states it to central.

    Stated again under the same id with a higher `revision` when a register that came later says
    whose it is or where the terminal stands; the highest counts.
    """

    KIND: ClassVar[str] = "punch"
    id: str
    device: str
    seq: int
    place: str | None
    person: str | None
    terminal_user: str
    at_ns: int
    """Our best wall time: the terminal's time corrected by its measured offset."""
    observed_ns: int
    verify: Verify
    direction: Direction
    origin: Literal["live", "stored"]
    terminal_offset_ms: int | None = None
    revision: int = 0
