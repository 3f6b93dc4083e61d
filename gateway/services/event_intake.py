"""Takes the events of devices: checked, in order, stored with their facts, then acknowledged.

The acknowledgement is the only receipt a device trusts. It goes out after the commit and names the
last event of the unbroken prefix. Everything here may happen again after a crash: an event that is
stored is recognised and acknowledged once more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from cryptography import x509
from pydantic import ValidationError

from contracts.clock import Clock
from contracts.errors import Conflict, Denied, InvalidInput
from contracts.signing import load_certificate
from contracts.timestamps import NS
from contracts.wire.access import Punched
from contracts.wire.devices import ClockMeasured, DeviceDesc
from contracts.wire.envelope import Ack, Envelope, decode
from contracts.wire.topics import parse_device_topic
from gateway.core.event_chain import AcceptedEvent, ChainHead, check_origin, place_in_chain
from gateway.core.punches import Whereabouts, punch_fact
from gateway.ports import Broker, DeviceStore, DeviceWatch, EventStore, Message, Register

MOST_WAITING = 1024
"""Events of one device that may wait for an earlier one. The device keeps them until acknowledged,
so what does not fit is not lost."""

_INSIST_NS = 60 * NS
_DESC_TRIES = 8
_DESC_WAIT_S = 0.25
_DESC_AGAIN_NS = 30 * NS

_log = structlog.get_logger()


@dataclass(slots=True)
class _Chain:
    """Where one device stands.

    Attributes:
        waiting: authentic events that came too early, by number.
        strange_since: since when (monotonic) a device of which nothing is stored sends numbers
            that do not begin with one.
    """

    head: ChainHead
    strange_since: int | None = None
    waiting: dict[int, tuple[Envelope, bytes]] = field(default_factory=dict)
    refusal: str = ""


class IntakeStore(EventStore, Register, DeviceStore, Protocol):
    """What the intake needs stored, in one place."""


class EventIntake:
    """Handles the `up` inbox."""

    def __init__(
        self,
        *,
        site: str,
        ca: x509.Certificate,
        clock: Clock,
        broker: Broker,
        store: IntakeStore,
        watch: DeviceWatch,
    ) -> None:
        """Take events of `site` from devices whose certificates `ca` issued."""
        self._site = site
        self._ca = ca
        self._clock = clock
        self._broker = broker
        self._store = store
        self._watch = watch
        self._chains: dict[str, _Chain] = {}
        self._certificates: dict[str, x509.Certificate] = {}
        self._undescribed: dict[str, int] = {}

    async def handle(self, batch: Sequence[Message]) -> None:
        """Take one batch.

        Raises:
            Unavailable: disk or broker away; nothing was acknowledged, the batch comes again.
        """
        by_device: dict[str, list[Message]] = {}
        for message in batch:
            try:
                device = parse_device_topic(message.subject).device
            except InvalidInput as exc:
                _log.warning("event_topic_invalid", subject=message.subject, reason=str(exc))
                continue
            by_device.setdefault(device, []).append(message)
        for device, messages in by_device.items():
            await self._take(device, messages)

    async def _take(self, device: str, messages: Sequence[Message]) -> None:
        chain = self._chains.get(device)
        if chain is None:
            chain = self._chains[device] = _Chain(await self._store.head(device))
        refusals = []
        for message in messages:
            try:
                envelope = await self._authentic(device, message)
                await self._queue(chain, envelope, message.payload)
            except (InvalidInput, Denied) as exc:
                refusals.append(str(exc))
        try:
            await self._store_prefix(device, chain)
        except (Conflict, Denied) as exc:
            refusals.append(str(exc))
        self._tell(device, chain, refusals[0] if refusals else "")
        await self._broker.acknowledge(
            device, Ack(seq=chain.head.seq, rejected=refusals[0] if refusals else None)
        )

    async def _queue(self, chain: _Chain, envelope: Envelope, raw: bytes) -> None:
        """Put an authentic event among those waiting, unless it is stored already."""
        stored = None
        if envelope.seq <= chain.head.seq:
            stored = await self._store.digest_of(envelope.device, envelope.seq)
        if place_in_chain(chain.head, envelope, stored=stored) == "again":
            return
        if len(chain.waiting) >= MOST_WAITING and envelope.seq not in chain.waiting:
            raise Denied(
                f"缺少第 {chain.head.seq + 1} 号事件，后面的无法存入 "
                f"(event {chain.head.seq + 1} is missing; later ones cannot be stored)"
            )
        chain.waiting[envelope.seq] = envelope, raw

    async def _store_prefix(self, device: str, chain: _Chain) -> None:
        """Store what follows the head without a hole.

        Raises:
            Denied: an event does not name the one before it; those before it are stored.
            Conflict: an event id is taken.
            Unavailable: the disk does not take it.
        """
        head, accepted, broken = self._begin(device, chain), [], None
        where = Whereabouts.of(await self._store.site())
        offset = await self._store.clock_offset(device)
        while head.seq + 1 in chain.waiting:
            envelope, raw = chain.waiting.pop(head.seq + 1)
            try:
                place_in_chain(head, envelope, stored=None)
            except Denied as exc:
                broken = exc
                break
            event = self._understood(envelope, raw, where, offset)
            offset = event.clock.offset_ms if event.clock else offset
            accepted.append(event)
            head = ChainHead(seq=envelope.seq, digest=event.digest)
        if accepted:
            await self._store.accept(accepted)
            chain.head = head
        if broken is not None:
            raise broken

    def _begin(self, device: str, chain: _Chain) -> ChainHead:
        """The event to go on from.

        A gateway with a new database meets devices that have long been acknowledged by the old one
        and do not have their first events any more. When such a device insists, its chain is taken
        up where it is; the hole before it stays visible, for the numbers do not begin with one.
        """
        if chain.head.seq > 0 or not chain.waiting or 1 in chain.waiting:
            chain.strange_since = None
            return chain.head
        now = self._clock.monotonic_ns()
        if chain.strange_since is None:
            chain.strange_since = now
        if now - chain.strange_since < _INSIST_NS:
            return chain.head
        lowest = min(chain.waiting)
        _log.warning("chain_taken_up", device=device, seq=lowest)
        return ChainHead(seq=lowest - 1, digest=chain.waiting[lowest][0].prev)

    def _understood(
        self, envelope: Envelope, raw: bytes, where: Whereabouts, offset_ms: int | None
    ) -> AcceptedEvent:
        event = AcceptedEvent(envelope=envelope, raw=raw, digest=envelope.digest())
        try:
            if envelope.type == Punched.TYPE:
                punched = Punched.model_validate(envelope.body)
                fact = punch_fact(envelope, punched, where, known_offset_ms=offset_ms)
                return AcceptedEvent(
                    envelope=envelope, raw=raw, digest=event.digest, punched=punched, punch=fact
                )
            if envelope.type == ClockMeasured.TYPE:
                clock = ClockMeasured.model_validate(envelope.body)
                return AcceptedEvent(envelope=envelope, raw=raw, digest=event.digest, clock=clock)
        except ValidationError as exc:
            # Authentic but not understood: kept as evidence, or the chain could never go on.
            _log.warning(
                "event_body_invalid",
                device=envelope.device,
                seq=envelope.seq,
                type=envelope.type,
                field=".".join(map(str, exc.errors()[0]["loc"])),
            )
        return event

    async def _authentic(self, device: str, message: Message) -> Envelope:
        envelope = decode(message.payload)
        if envelope.device != device or envelope.site != self._site:
            raise Denied(
                f"主题属于 {self._site}/{device}，事件自称 {envelope.site}/{envelope.device} "
                "(the topic names another device than the event)"
            )
        now_s = self._clock.now() // NS
        known = self._certificates.get(device)
        if known is not None:
            try:
                check_origin(envelope, known, self._ca, now_s=now_s)
            except Denied:
                # Perhaps the certificate was renewed; the newest description decides below.
                del self._certificates[device]
            else:
                return envelope
        certificate = await self._certificate(device)
        check_origin(envelope, certificate, self._ca, now_s=now_s)
        self._certificates[device] = certificate
        return envelope

    async def _certificate(self, device: str) -> x509.Certificate:
        raw = await self._description(device)
        if raw is None:
            kept = await self._store.description(device)
            if kept is None:
                raise Denied("设备还没有发布说明，无法验签 (no description published yet)")
            return load_certificate(kept.certificate.encode())
        try:
            desc = DeviceDesc.model_validate_json(raw)
        except ValidationError as exc:
            field_name = ".".join(map(str, exc.errors()[0]["loc"]))
            raise InvalidInput("设备说明有误 (bad description)", field=field_name) from exc
        return load_certificate(desc.certificate.encode())

    async def _description(self, device: str) -> bytes | None:
        """The description; waits a little for a device that sends its first event beside it."""
        now = self._clock.monotonic_ns()
        missed = self._undescribed.get(device)
        tries = _DESC_TRIES if missed is None or now - missed > _DESC_AGAIN_NS else 1
        for _ in range(tries):
            raw = await self._broker.description(device)
            if raw is not None:
                self._undescribed.pop(device, None)
                return raw
            if tries > 1:
                await self._clock.sleep(_DESC_WAIT_S)
        self._undescribed[device] = now
        return None

    def _tell(self, device: str, chain: _Chain, refusal: str) -> None:
        """Log a refusal once per reason, and its end once."""
        if refusal:
            self._watch.refused(device, refusal)
            if refusal != chain.refusal:
                _log.warning("event_refused", device=device, reason=refusal)
        else:
            self._watch.heard(device)
            if chain.refusal:
                _log.info("events_taken_again", device=device)
        chain.refusal = refusal
