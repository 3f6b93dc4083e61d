"""What happened in a case: the append-only facts from which everything about it follows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from central.domain.flow_pack import CaseState
from contracts.canonical import digest
from contracts.errors import InvalidInput

MaterialState = Literal["missing", "checked", "doubtful"]

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOpened:
    """办件登记."""

    no: str
    item: str
    pack_version: str
    applicant: str
    unit: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step began at a place; `run` counts how often it was begun."""

    seq: int
    step: str
    run: int
    place: str
    state: CaseState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step was done. `next_seq` None: the case ends here."""

    seq: int
    step: str
    values: Mapping[str, str]
    outcome: str
    state: CaseState | None
    next_seq: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialMarked:
    """A material was looked at."""

    code: str
    state: MaterialState
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClocksSuspended:
    """The clocks stand still for a special procedure, told in writing."""

    reason: str
    notice_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClocksResumed:
    """The clocks run again."""


Fact = CaseOpened | StepStarted | StepFinished | MaterialMarked | ClocksSuspended | ClocksResumed

KINDS: dict[str, type[Fact]] = {
    "case.opened": CaseOpened,
    "step.started": StepStarted,
    "step.finished": StepFinished,
    "material.marked": MaterialMarked,
    "clocks.suspended": ClocksSuspended,
    "clocks.resumed": ClocksResumed,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEvent:
    """A fact with who and when (wall time, nanoseconds)."""

    at_ns: int
    username: str
    person: str | None
    fact: Fact

    @property
    def kind(self) -> str:
        """The fact's stored name."""
        return _NAMES[type(self.fact)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedEvent:
    """An event in its place: `digest` covers the event and the one in front of it."""

    seq: int
    event: CaseEvent
    prev: str
    digest: str


def body_of(fact: Fact) -> dict[str, Any]:
    """The fact as JSON."""
    return asdict(fact)


def read_fact(kind: str, body: Mapping[str, Any]) -> Fact:
    """A fact from its stored name and JSON.

    Raises:
        InvalidInput: no such kind, or fields are missing.
    """
    found = KINDS.get(kind)
    if found is None:
        raise InvalidInput(f"{kind!r} is no kind of case event", field="kind")
    known = {item.name for item in fields(found)}
    try:
        return found(**{key: value for key, value in body.items() if key in known})
    except TypeError as exc:
        raise InvalidInput(str(exc), field=f"{kind}.body") from exc


def chain(case_no: str, *, seq: int, event: CaseEvent, prev: str) -> ChainedEvent:
    """Put an event behind the one whose digest is `prev` (64 zeros for the first)."""
    return ChainedEvent(seq=seq, event=event, prev=prev, digest=_digest(case_no, seq, event, prev))


def check_chain(case_no: str, events: list[ChainedEvent]) -> int | None:
    """Number of the first event that was changed, removed or moved; None when all is whole."""
    prev = GENESIS
    for number, item in enumerate(events, 1):
        if (
            item.seq != number
            or item.prev != prev
            or item.digest != _digest(case_no, item.seq, item.event, prev)
        ):
            return number
        prev = item.digest
    return None


def _digest(case_no: str, seq: int, event: CaseEvent, prev: str) -> str:
    return digest(
        {
            "case": case_no,
            "seq": seq,
            "at_ns": event.at_ns,
            "kind": event.kind,
            "username": event.username,
            "person": event.person,
            "body": body_of(event.fact),
            "prev": prev,
        }
    )
