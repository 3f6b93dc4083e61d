"""Ports of central: what its use cases need from the world, and the records that cross them.

One `Transaction` is one database transaction: everything done through it happens together, with
the orders for gateways and the notices for pages, or not at all.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from central.domain.case_events import ChainedEvent
from central.domain.flow_pack import CaseState, FlowPack
from central.domain.permissions import Role
from central.domain.register import Device, NewUser, Person, Place, SiteRegister, User
from contracts.tokens import GrantUse
from contracts.wire.access import PunchFact
from contracts.wire.footage import FootageLinkFact, Timeline
from contracts.wire.orders import SiteOrder, StepOrder
from contracts.wire.presence import DeviceHealthFact, PresenceFact

ChangeKind = Literal["case", "device", "punch", "presence", "link", "order"]
Fact = PunchFact | PresenceFact | DeviceHealthFact | FootageLinkFact


# --- records -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """A case as stored: its events, half-filled forms by step number, and its revision."""

    no: str
    site: str
    item: str
    pack_version: str
    revision: int
    saved_ns: int | None
    drafts: Mapping[int, Mapping[str, str]]
    events: tuple[ChainedEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSummary:
    """What a list shows of a case; derived from its events with every change."""

    no: str
    site: str
    item: str
    pack_version: str
    applicant: str
    unit: str
    place: str
    state: CaseState
    step_seq: int
    step_role: Role | None
    opened_ns: int
    clocks: tuple[Mapping[str, Any], ...]
    coverage_permille: int | None = None
    """Worst coverage among its linked steps; None when nothing is linked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFilter:
    """Which cases a list shows. `role`: those whose next step that role does."""

    site: str
    text: str = ""
    state: CaseState | None = None
    role: Role | None = None
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user with the stored hash of the password."""

    user: User
    password_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRetrieval:
    """A line of the retrieval register. Instants in nanoseconds; the range is half open."""

    id: str
    site: str
    case_no: str
    step: int | None
    username: str
    user_name: str
    unit: str
    reason: str
    basis: str
    at_ns: int
    expires_ns: int
    from_ns: int
    to_ns: int
    streams: tuple[str, ...]
    views: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSession:
    """A live view in progress and where the gateway ends it."""

    id: str
    site: str
    username: str
    stream: str
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something committed that pages may want to know; small, as it travels by NOTIFY."""

    kind: ChangeKind
    site: str
    content: Mapping[str, Any] = field(default_factory=dict)


# --- storage -----------------------------------------------------------------------------------


class Cases(Protocol):
    """Cases and their events."""

    async def next_number(self, series: str) -> int:
        """The next number of a series, without holes except by rollback."""
        ...

    async def add(self, case: StoredCase, summary: CaseSummary) -> None:
        """Store a new case with its first events."""
        ...

    async def load(self, no: str, *, lock: bool = False) -> StoredCase | None:
        """A case; with `lock`, nobody else changes it before this transaction ends."""
        ...

    async def append(self, no: str, events: Sequence[ChainedEvent], summary: CaseSummary) -> None:
        """Append events to a locked case and raise its revision."""
        ...

    async def save_draft(self, no: str, seq: int, values: Mapping[str, str], *, at_ns: int) -> None:
        """Store a half-filled form of a locked case and raise its revision."""
        ...

    async def drop_draft(self, no: str, seq: int) -> None:
        """Forget a form that has been handed in."""
        ...

    async def page(self, wanted: CaseFilter, *, size: int) -> tuple[int, list[CaseSummary]]:
        """How many there are, and one page, newest first."""
        ...


class Register(Protocol):
    """The site's register and the flow packs in use."""

    async def version_of(self, site: str) -> tuple[int, str] | None:
        """Version and digest of the register last loaded; nobody else loads one meanwhile."""
        ...

    async def replace(self, register: SiteRegister, *, version: int, digest: str) -> None:
        """Make the stored register equal to this one; what is gone is kept as inactive."""
        ...

    async def places(self, site: str) -> list[Place]:
        """Active places."""
        ...

    async def devices(self, site: str) -> list[Device]:
        """Active devices."""
        ...

    async def persons(self, site: str) -> list[Person]:
        """Active persons."""
        ...

    async def keep_pack(self, code: str, version: str, source: str) -> str:
        """Store a pack's text unless that version is known; gives the text that is valid."""
        ...

    async def packs(self) -> list[str]:
        """The text of every pack version ever in use."""
        ...


class Access(Protocol):
    """Users, their sessions and failed attempts."""

    async def credentials(self, username: str) -> Credentials | None:
        """A user who may sign in."""
        ...

    async def usernames(self) -> set[str]:
        """Every user ever made."""
        ...

    async def set_user(self, site: str, user: NewUser, *, password_hash: str | None) -> None:
        """Store a user of the site file; the hash only for a new one."""
        ...

    async def set_active(self, site: str, usernames: set[str]) -> None:
        """Users of the site that are not among these can no longer sign in."""
        ...

    async def set_password(self, username: str, password_hash: str) -> None:
        """Replace a password; it need not be changed any more."""
        ...

    async def open_session(self, token_hash: str, username: str, *, at_ns: int) -> None:
        """Store a session by the hash of its token."""
        ...

    async def session(self, token_hash: str, *, idle_since_ns: int) -> tuple[User, int] | None:
        """The session's user and when it was last seen, unless idle for too long."""
        ...

    async def touch_session(self, token_hash: str, *, at_ns: int) -> None:
        """Note that the session is in use."""
        ...

    async def close_sessions(
        self, *, token_hash: str | None = None, username: str | None = None, keep: str | None = None
    ) -> None:
        """End one session, or all of a user except one."""
        ...

    async def failures(self, key: str, *, since_ns: int) -> int:
        """Failed attempts under a key since then."""
        ...

    async def note_failure(self, key: str, *, at_ns: int) -> None:
        """Count a failed attempt."""
        ...

    async def forget_failures(self, key: str) -> None:
        """Start counting anew."""
        ...


class Facts(Protocol):
    """What gateways state. Storing the same fact again, or an older one later, changes nothing."""

    async def store(self, site: str, fact: Fact) -> bool:
        """Store a fact; False when it was known or is older than what is known."""
        ...

    async def store_rejected(self, site: str, subject: str, raw: bytes, reason: str) -> None:
        """Keep what could not be read, so that nothing vanishes."""
        ...

    async def punches(
        self, site: str, places: Sequence[str], span: tuple[int, int]
    ) -> list[PunchFact]:
        """Punches at places within [from, to), in order of time."""
        ...

    async def presence(
        self, site: str, places: Sequence[str], span: tuple[int, int]
    ) -> list[PresenceFact]:
        """Presence intervals at places that touch [from, to), in order of time."""
        ...

    async def health(self, site: str) -> dict[str, DeviceHealthFact]:
        """Latest health of each device."""
        ...

    async def links(self, case_no: str) -> dict[str, FootageLinkFact]:
        """Latest footage link of each step of a case, by step id."""
        ...


class Retrievals(Protocol):
    """The retrieval register and live views."""

    async def add(self, retrieval: StoredRetrieval) -> None:
        """Write a line."""
        ...

    async def get(self, retrieval_id: str) -> StoredRetrieval | None:
        """A line."""
        ...

    async def count_view(self, retrieval_id: str) -> None:
        """Count a view."""
        ...

    async def page(
        self, site: str, span: tuple[int, int] | None, *, page: int, size: int
    ) -> tuple[int, list[StoredRetrieval]]:
        """How many lines there are, and one page, newest first."""
        ...

    async def add_live(self, session: LiveSession, *, at_ns: int) -> None:
        """Remember a live view."""
        ...

    async def take_live(self, session_id: str, username: str) -> LiveSession | None:
        """Forget a live view of that user and return it."""
        ...


class Journal(Protocol):
    """The audit chain, the outbox of orders, and notices of change."""

    async def audit(
        self, *, at_ns: int, username: str, action: str, body: Mapping[str, Any]
    ) -> None:
        """Append to the hash-chained audit log."""
        ...

    async def check_audit(self) -> int | None:
        """Number of the first audit event that does not fit; None when the chain is whole."""
        ...

    async def order(self, site: str, order: SiteOrder | StepOrder, *, at_ns: int) -> None:
        """Put an order for a site's gateway into the outbox."""
        ...

    async def announce(self, change: Change) -> None:
        """Tell every central process once this transaction has been committed."""
        ...


class Transaction(Protocol):
    """Everything that belongs together."""

    @property
    def cases(self) -> Cases:
        """Cases."""
        ...

    @property
    def register(self) -> Register:
        """The site's register."""
        ...

    @property
    def access(self) -> Access:
        """Users and sessions."""
        ...

    @property
    def facts(self) -> Facts:
        """Facts of gateways."""
        ...

    @property
    def retrievals(self) -> Retrievals:
        """The retrieval register."""
        ...

    @property
    def journal(self) -> Journal:
        """Audit, outbox, notices."""
        ...


class Store(Protocol):
    """The database."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction: committed at the end, rolled back by an exception.

        Raises:
            Unavailable: the database is not there.
        """
        ...


# --- other parts -------------------------------------------------------------------------------


class Packs(Protocol):
    """Flow packs by code and version."""

    def newest(self) -> list[FlowPack]:
        """The version of each item under which new cases are opened."""
        ...

    def get(self, code: str, version: str | None = None) -> FlowPack | None:
        """A pack; without a version the newest."""
        ...


class Passwords(Protocol):
    """Hashes passwords; slow on purpose, so never in the event loop."""

    async def hash(self, password: str) -> str:
        """A hash that can be stored."""
        ...

    async def fits(self, password_hash: str | None, password: str) -> bool:
        """Whether the password belongs to the hash; without a hash False, after as long a time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What a gateway is asked to show, to whom; central signs it."""

    use: GrantUse
    site: str
    user: str
    streams: tuple[str, ...]
    case: str | None = None
    not_before_ns: int = 0
    not_after_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBytes:
    """A part of a file as the gateway sends it. `headers` are those a browser needs."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


OpenFile = AbstractAsyncContextManager[FileBytes]


class Gateways(Protocol):
    """The gateways of the sites.

    Every method raises `Unavailable` when the gateway does not answer, `Refused` when it says no.
    """

    async def timeline(self, permit: Permit, stream: str, span: tuple[int, int]) -> Timeline:
        """What is recorded of a stream within [from, to)."""
        ...

    async def playlist(self, permit: Permit, stream: str, span: tuple[int, int]) -> bytes:
        """HLS playlist of a stream within [from, to); addresses in it are relative."""
        ...

    def file(self, permit: Permit, stream: str, name: str, headers: Mapping[str, str]) -> OpenFile:
        """A footage file, or the range of it that the headers ask for, as a stream."""
        ...

    async def watch(self, permit: Permit, stream: str, offer: bytes) -> tuple[bytes, str]:
        """Start a live view: SDP answer and the path at the gateway that ends it."""
        ...

    async def unwatch(self, permit: Permit, location: str) -> None:
        """End a live view."""
        ...
