"""From a terminal's record to a punch: when it was by our clock, who it was, where it was.

Terminals keep local time without a zone. All of China is in one zone without daylight saving
(`contracts.timestamps.CHINA`), so local time is unambiguous.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts.timestamps import CHINA, NS_PER_MS, WallTime, from_datetime
from contracts.wire.access import Punched, PunchFact
from contracts.wire.envelope import Envelope
from contracts.wire.orders import SiteOrder

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """The register, indexed: device -> place, terminal user -> person."""

    places: Mapping[str, str]
    persons: Mapping[str, str]

    @classmethod
    def of(cls, site: SiteOrder | None) -> "Whereabouts":
        """Index a register; everything is unknown without one."""
        if site is None:
            return cls(places={}, persons={})
        return cls(
            places={d.id: d.place for d in site.devices if d.place is not None},
            persons={user: p.id for p in site.persons for user in p.terminal_users},
        )


def punch_time(punched: Punched, *, observed: WallTime, known_offset_ms: int | None) -> WallTime:
    """Our best wall time of a punch.

    The terminal's time minus its measured offset. Without any measurement a live punch is best
    dated by when the agent saw it; a stored one has only the terminal's word.

    Args:
        punched: the record.
        observed: when the agent got it.
        known_offset_ms: the terminal's offset last measured, for records that carry none.
    """
    offset_ms = punched.terminal_offset_ms
    if offset_ms is None:
        offset_ms = known_offset_ms
    if offset_ms is None and punched.origin == "live":
        return observed
    try:
        local = datetime.strptime(punched.terminal_time, _TIME_FORMAT).replace(tzinfo=CHINA)
    except ValueError:
        # A terminal with a flat battery says month 0; the record itself is still evidence.
        return observed
    return WallTime(from_datetime(local) - (offset_ms or 0) * NS_PER_MS)


def punch_fact(
    envelope: Envelope, punched: Punched, where: Whereabouts, *, known_offset_ms: int | None
) -> PunchFact:
    """State a punch to central, under the id of the event that told it first."""
    at = punch_time(
        punched, observed=WallTime(envelope.observed_ns), known_offset_ms=known_offset_ms
    )
    return PunchFact(
        id=envelope.id,
        device=envelope.device,
        seq=envelope.seq,
        place=where.places.get(envelope.device),
        person=where.persons.get(punched.terminal_user),
        terminal_user=punched.terminal_user,
        at_ns=at,
        observed_ns=envelope.observed_ns,
        verify=punched.verify,
        direction=punched.direction,
        origin=punched.origin,
        terminal_offset_ms=(
            punched.terminal_offset_ms
            if punched.terminal_offset_ms is not None
            else known_offset_ms
        ),
    )


def is_complete(fact: PunchFact) -> bool:
    """Whether a register can add nothing to it."""
    return fact.person is not None and fact.place is not None


def named(fact: PunchFact, where: Whereabouts) -> PunchFact | None:
    """The fact stated again with what a later register knows; None when that is nothing new.

    What was stated once stays: a register that gives a number to somebody else changes nothing.
    """
    person = fact.person or where.persons.get(fact.terminal_user)
    place = fact.place or where.places.get(fact.device)
    if (person, place) == (fact.person, fact.place):
        return None
    return fact.model_copy(update={"person": person, "place": place, "revision": fact.revision + 1})
