"""Ports of the gateway: what its services need from the world."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from contracts.media.access_unit import CodecConfig, Track
from contracts.timestamps import WallTime
from contracts.wire.devices import DeviceDesc
from contracts.wire.envelope import Ack
from contracts.wire.footage import FootageLinkFact, GapCause, Timeline
from contracts.wire.orders import SiteOrder, StepOrder
from contracts.wire.presence import DeviceHealthFact, PresenceFact
from gateway.core.event_chain import AcceptedEvent, ChainHead
from gateway.core.facts import Fact
from gateway.core.footage_audit import AuditedFile, AuditedGap, AuditedPart
from gateway.core.hls import IndexedFile, IndexedPart
from gateway.core.linking import LinkedStep
from gateway.core.liveness import Condition
from gateway.core.parts import StoreItem
from gateway.core.stream_events import StreamEvent


class UnitCursor(Protocol):
    """A reader's place in one stream's bounded buffer of access units."""

    async def next(self) -> StreamEvent:
        """The next event; waits for it."""
        ...

    def close(self) -> None:
        """Give the place up; it no longer counts towards the buffer's bounds."""
        ...


class LiveCursor(UnitCursor, Protocol):
    """A cursor nobody waits for: it begins at the newest key frame and jumps when it lags."""

    def backlog(self) -> list[StreamEvent]:
        """Everything there is now, without waiting."""
        ...

    def restart(self) -> bool:
        """Go back to the newest key frame; False when none is held."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewed:
    """What a viewer looks at: the codecs as known now, and a cursor for when it is connected."""

    stream: str
    video: CodecConfig | None
    audio: CodecConfig | None
    cursor: Callable[[], LiveCursor]


class FootageReader(Protocol):
    """Reads what is recorded. Opened read-only; never disturbs the recorder."""

    def timeline(self, stream: str, start: WallTime, end: WallTime) -> Timeline:
        """Recorded spans and gaps of one stream's video track within [start, end)."""
        ...

    def streams(self) -> list[str]:
        """Every stream that has footage or gap rows."""
        ...


class FootageStore(Protocol):
    """Takes footage of all streams of one volume. Submitting never blocks and never fails."""

    def submit(self, stream: str, track: Track, items: Sequence[StoreItem]) -> None:
        """Queue items of one track; they reach the disk in this order."""
        ...

    def backlog_bytes(self, stream: str) -> int:
        """Octets of one stream that wait for the disk."""
        ...

    async def drained(self, stream: str, most_bytes: int) -> None:
        """Wait until no more than `most_bytes` of a stream wait for the disk."""
        ...


class FootagePlayback(FootageReader, Protocol):
    """What serving footage needs besides the account of it. Video tracks only."""

    def parts(self, stream: str, start: WallTime, end: WallTime) -> list[IndexedPart]:
        """Parts of [start, end), from the key frame at or before `start` on, by wall time."""
        ...

    def file(self, stream: str, file_id: int) -> IndexedFile | None:
        """One file with its parts; None when this stream has no such file."""
        ...

    def read(self, file: IndexedFile, offset: int, length: int) -> Iterator[bytes]:
        """Octets of a file in chunks; the file is opened before the first one is asked for.

        Raises:
            Unavailable: the file is not there.
        """
        ...


class FootageAudit(Protocol):
    """What checking a volume needs: rows and octets, compared by somebody else."""

    def damage(self) -> Iterator[str]:
        """What the database says of its own soundness; nothing when it is sound."""
        ...

    def files(self) -> Iterator[AuditedFile]:
        """Every file row, with what the disk says of the file."""
        ...

    def parts(self, file_id: int) -> list[AuditedPart]:
        """The part rows of one file, by offset."""
        ...

    def chain(self) -> Iterator[AuditedPart]:
        """All part rows, by stream and sequence."""
        ...

    def gaps(self) -> Iterator[AuditedGap]:
        """All gap rows, by stream and start."""
        ...

    def spans(self) -> Iterator[AuditedGap]:
        """Recorded spans of the parts, joined where they touch, by stream; cause is empty."""
        ...

    def listed_spans(self) -> Iterator[AuditedGap]:
        """The same as the index lists them for readers."""
        ...

    def read(self, file: AuditedFile, offset: int, length: int) -> bytes:
        """Octets of a file; fewer when it is shorter."""
        ...

    def strays(self) -> Iterator[str]:
        """Names of media files below the volume that have no row."""
        ...


class KeyFrames(Protocol):
    """Recent key frames of streams, for whoever looks at pictures. Slow readers lose old ones."""

    def __aiter__(self) -> AsyncIterator[tuple[str, WallTime, bytes]]:
        """(stream, wall time of the frame, Annex B access unit with its parameter sets)."""
        ...


Inbox = Literal["up", "state", "orders"]
"""Events of devices, their retained states and descriptions, orders of central."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of an inbox; `stored_at` is when the broker took it (the broker's clock)."""

    subject: str
    payload: bytes
    stored_at: WallTime


BatchHandler = Callable[[Sequence[Message]], Awaitable[None]]


class Broker(Protocol):
    """The site's messaging. Reconnects by itself, for ever."""

    @property
    def connected(self) -> bool:
        """Whether the broker answers now."""
        ...

    async def consume(self, inbox: Inbox, handle: BatchHandler) -> None:
        """Hand over an inbox in order, batch by batch, for ever.

        A batch counts as done when `handle` returns and comes again when it raises `Unavailable`.
        `state` begins with the last message of every subject after each (re)connection.
        """
        ...

    async def description(self, device: str) -> bytes | None:
        """The last description a device published.

        Raises:
            Unavailable: the broker is away.
        """
        ...

    async def acknowledge(self, device: str, ack: Ack) -> None:
        """Tell a device what is stored; lost silently when the broker is away (it asks again)."""
        ...

    async def publish_fact(self, fact: Fact) -> None:
        """State a fact to central; returns when the broker holds it durably.

        Raises:
            Unavailable: not confirmed; it may be published again under the same id.
        """
        ...


class EventStore(Protocol):
    """Durable events of devices. What `accept` returned from survives a power cut."""

    async def head(self, device: str) -> ChainHead:
        """The device's last stored event."""
        ...

    async def digest_of(self, device: str, seq: int) -> str | None:
        """Digest of a stored event."""
        ...

    async def accept(self, events: Sequence[AcceptedEvent]) -> None:
        """Store events, what they mean and the facts they make, in one transaction.

        Raises:
            Conflict: an event id is already used by another event.
            Unavailable: the disk does not take it; nothing was stored.
        """
        ...

    async def clock_offset(self, device: str) -> int | None:
        """The device's clock minus ours in milliseconds, last measured; None before that."""
        ...


class Register(Protocol):
    """Who and what is where, as central last said."""

    async def site(self) -> SiteOrder | None:
        """The site's register; None until central sent one."""
        ...

    async def put_site(self, order: SiteOrder) -> bool:
        """Replace it when the version is higher; False when it is not."""
        ...


class DeviceStore(Protocol):
    """What devices said about themselves, and the health we last stated."""

    async def put_description(self, desc: DeviceDesc) -> None:
        """Keep a description."""
        ...

    async def description(self, device: str) -> DeviceDesc | None:
        """The kept description."""
        ...

    async def stated_health(self) -> dict[str, DeviceHealthFact]:
        """The last health fact of each device."""
        ...

    async def state_health(self, fact: DeviceHealthFact) -> None:
        """Keep a health fact and put it in the outbox."""
        ...


class StepStore(Protocol):
    """Steps that asked for footage, and the link last stated for each."""

    async def put_step(self, order: StepOrder) -> None:
        """Keep a step; an end once told is not undone by an older message."""
        ...

    async def steps(self, *, ended_after: int) -> list[LinkedStep]:
        """Steps that run, are not finally linked, or ended after this wall time."""
        ...

    async def state_link(self, link: FootageLinkFact) -> None:
        """Keep a link and put it in the outbox."""
        ...


class PresenceStore(Protocol):
    """Presence intervals as stated."""

    async def open_intervals(self) -> list[tuple[PresenceFact, WallTime]]:
        """Intervals without an end, each with the last instant it was known to hold."""
        ...

    async def state_presence(self, facts: Sequence[PresenceFact], *, seen: WallTime) -> None:
        """Keep intervals and put them in the outbox."""
        ...

    async def presence_seen(self, device: str, seen: WallTime) -> None:
        """Note that the device's open interval still holds."""
        ...


class Outbox(Protocol):
    """Facts that central has not got yet, in order."""

    async def pending(self, limit: int) -> list[tuple[int, Fact]]:
        """The oldest facts with their positions."""
        ...

    async def remove(self, position: int) -> None:
        """The broker holds it: forget it here."""
        ...

    async def wait_filled(self) -> None:
        """Return when something may be pending."""
        ...


class CauseSink(Protocol):
    """Tells the recorder why a stream has no media, so that its gap names the true cause."""

    async def set_cause(self, stream: str, cause: GapCause | None, detail: str = "") -> None:
        """Set or clear the known cause of one stream's silence."""
        ...


class DeviceWatch(Protocol):
    """Told what the intake of events learns about a device's well-being."""

    def heard(self, device: str) -> None:
        """Something authentic came from the device; what was refused before is mended."""
        ...

    def refused(self, device: str, reason: str) -> None:
        """Something that bears the device's name could not be taken."""
        ...


ConditionListener = Callable[[str, Condition, WallTime], None]
"""Called with a device, its new condition and since when."""
