"""Events of devices become facts exactly once, in order, or are refused with a reason."""

import random
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts.clock import Clock, ManualClock, SystemClock
from contracts.errors import Unavailable
from contracts.ids import uuid7
from contracts.signing import PemSigner, load_certificate
from contracts.timestamps import WallTime
from contracts.wire import topics
from contracts.wire.access import Punched, PunchFact
from contracts.wire.devices import ClockMeasured, DeviceDesc
from contracts.wire.envelope import GENESIS, Ack, Envelope, StampClock
from contracts.wire.orders import DeviceEntry, PersonEntry, PlaceEntry, SiteOrder
from gateway.adapters.state_store import StateStore
from gateway.core.event_chain import AcceptedEvent
from gateway.ports import Message
from gateway.services.event_intake import EventIntake
from tests.certificates import Issued, issue
from tests.fakes.broker import FakeBroker

DEVICE = "zk-07"
NOW = 1_790_000_000_000_000_000

REGISTER = SiteOrder(
    id="o-1",
    version=1,
    site="demo",
    name="示范区政务服务中心",
    places=(PlaceEntry(id="counter-07", name="07 号窗口", kind="counter"),),
    devices=(
        DeviceEntry(
            id=DEVICE, device_class="fingerprint_terminal", name="07 号", place="counter-07"
        ),
    ),
    persons=(PersonEntry(id="liu-yang", name="刘洋", terminal_users=("1001",)),),
)


def punched(
    n: int, *, origin: str = "live", offset_ms: int | None = 0, user: str = "1001"
) -> Punched:
    minute, second = divmod(n, 60)
    time = f"2026-11-24T09:{minute:02d}:{second:02d}"
    return Punched(
        key=f"{user}|{time}|finger|in|0",
        terminal_user=user,
        terminal_time=time,
        verify="finger",
        direction="in",
        origin=origin,
        terminal_offset_ms=offset_ms,
        raw="00",
    )


@dataclass
class Device:
    """A device with a chain of its own."""

    signer: PemSigner
    name: str = DEVICE
    site: str = "demo"
    seq: int = 0
    prev: str = GENESIS
    sent: list[Envelope] = field(default_factory=list)

    def event(self, body: Punched | ClockMeasured) -> Envelope:
        self.seq += 1
        envelope = Envelope(
            id=uuid7(now=NOW + self.seq, random=secrets.token_bytes(10)),
            type=body.TYPE,
            site=self.site,
            device=self.name,
            boot="boot-1",
            seq=self.seq,
            observed_ns=NOW + self.seq,
            clock=StampClock(source="ntp"),
            body=body.model_dump(mode="json"),
            prev=self.prev,
        ).signed(self.signer)
        self.prev = envelope.digest()
        self.sent.append(envelope)
        return envelope


class Watch:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def heard(self, device: str) -> None:
        self.told.append((device, ""))

    def refused(self, device: str, reason: str) -> None:
        self.told.append((device, reason))


@dataclass
class Desk:
    """The intake with everything around it."""

    authority: Issued
    broker: FakeBroker
    store: StateStore
    watch: Watch
    intake: EventIntake
    device: Device

    async def take(self, *envelopes: Envelope | bytes, device: str = DEVICE) -> Ack:
        subject = topics.subject(topics.up("demo", device, "punch"))
        batch = [
            Message(
                subject=subject,
                payload=e if isinstance(e, bytes) else e.encode(),
                stored_at=WallTime(NOW),
            )
            for e in envelopes
        ]
        await self.intake.handle(batch)
        to, ack = self.broker.acks[-1]
        assert to == device
        return ack

    async def facts(self) -> list[PunchFact]:
        pending = await self.store.pending(10_000)
        return [PunchFact.model_validate_json(f.payload) for _, f in pending]

    def reborn(self, clock: Clock | None = None) -> None:
        """The gateway restarts: memory is gone, the database stays."""
        self.intake = intake(self.authority, self.broker, self.store, self.watch, clock)


def intake(
    authority: Issued,
    broker: FakeBroker,
    store: StateStore,
    watch: Watch,
    clock: Clock | None = None,
) -> EventIntake:
    return EventIntake(
        site="demo",
        ca=load_certificate(authority.pem),
        clock=clock or SystemClock(),
        broker=broker,
        store=store,
        watch=watch,
    )


async def describe(broker: FakeBroker, device: str, certificate: bytes) -> None:
    desc = DeviceDesc(
        device=device, device_class="fingerprint_terminal", certificate=certificate.decode()
    )
    await broker.put(topics.desc("demo", device), desc.model_dump_json().encode())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    authority = issue("site-ca")
    broker, watch = FakeBroker(), Watch()
    store = StateStore(tmp_path / "state.db")
    await store.put_site(REGISTER)
    leaf = issue(DEVICE, by=authority)
    await describe(broker, DEVICE, leaf.pem)
    yield Desk(
        authority,
        broker,
        store,
        watch,
        intake(authority, broker, store, watch),
        Device(PemSigner(leaf.key_pem)),
    )
    await store.close()


async def test_a_punch_becomes_a_fact_before_its_receipt(desk: Desk):
    """Who, where and when are known; the receipt names the event."""
    ack = await desk.take(desk.device.event(punched(1, offset_ms=2500)))
    assert ack == Ack(seq=1)
    (fact,) = await desk.facts()
    assert (fact.person, fact.place, fact.seq) == ("liu-yang", "counter-07", 1)
    # 09:00:01 in Shanghai is 01:00:01 UTC; the terminal ran 2.5 s ahead.
    assert fact.at_ns == 1_795_482_001_000_000_000 - 2_500_000_000
    assert desk.watch.told == [(DEVICE, "")]


async def test_duplicates_and_disorder_make_no_difference(desk: Desk):
    """Any order, any repetition, with restarts in between: each fact once, in order."""
    events = [desk.device.event(punched(n)) for n in range(60)]
    draws = random.Random(7)  # noqa: S311 - a shuffle that repeats
    shuffled = events * 3
    draws.shuffle(shuffled)
    ack = Ack(seq=0)
    for start in range(0, len(shuffled), 9):
        ack = await desk.take(*shuffled[start : start + 9])
        assert ack.rejected is None
    while ack.seq < 60:
        # What waited in memory when the gateway restarted is sent again: nobody acknowledged it.
        desk.reborn()
        ack = await desk.take(*events[ack.seq :])
    assert [f.seq for f in await desk.facts()] == list(range(1, 61))
    assert (await desk.take(*events)) == Ack(seq=60)
    assert len(await desk.facts()) == 60


async def test_only_the_unbroken_prefix_is_acknowledged(desk: Desk):
    """A hole is waited for."""
    events = [desk.device.event(punched(n)) for n in range(4)]
    assert await desk.take(events[0], events[2], events[3]) == Ack(seq=1)
    assert len(await desk.facts()) == 1
    assert await desk.take(events[1]) == Ack(seq=4)
    assert [f.seq for f in await desk.facts()] == [1, 2, 3, 4]


async def test_live_and_stored_records_of_one_scan_are_one_punch(desk: Desk):
    """Both events are kept as evidence; one fact is stated."""
    live, stored = punched(5), punched(5, origin="stored")
    assert await desk.take(desk.device.event(live), desk.device.event(stored)) == Ack(seq=2)
    (fact,) = await desk.facts()
    assert fact.origin == "live"
    assert (await desk.store.counts())["events"] == 2


async def test_a_measured_clock_dates_later_punches(desk: Desk):
    """A stored record without an offset of its own takes the last one measured."""
    await desk.take(
        desk.device.event(ClockMeasured(offset_ms=60_000, round_trip_ms=4)),
        desk.device.event(punched(1, origin="stored", offset_ms=None)),
    )
    (fact,) = await desk.facts()
    assert fact.at_ns == 1_795_482_001_000_000_000 - 60_000_000_000
    assert await desk.store.clock_offset(DEVICE) == 60_000


async def refuse(desk: Desk, envelope: Envelope | bytes, why: str, *, seq: int = 0) -> None:
    ack = await desk.take(envelope)
    assert ack.seq == seq
    assert ack.rejected is not None
    assert why in ack.rejected
    assert desk.watch.told[-1] == (DEVICE, ack.rejected)
    assert (await desk.store.counts())["events"] == seq


async def test_a_changed_event_is_refused(desk: Desk):
    """One altered byte breaks the signature; nothing is stored, the device is told why."""
    event = desk.device.event(punched(1))
    forged = event.model_copy(update={"observed_ns": event.observed_ns + 1})
    await refuse(desk, forged, "signature")
    await refuse(desk, event.model_copy(update={"sig": ""}), "not signed")
    assert await desk.take(event) == Ack(seq=1)
    assert desk.watch.told[-1] == (DEVICE, "")


async def test_another_devices_certificate_is_refused(desk: Desk):
    """A valid certificate of the site does not let one device speak for another."""
    other = issue("zk-08", by=desk.authority)
    await describe(desk.broker, DEVICE, other.pem)
    impostor = Device(PemSigner(other.key_pem))
    await refuse(desk, impostor.event(punched(1)), "another device")


async def test_a_foreign_ca_is_refused(desk: Desk):
    """A certificate that somebody made at home is worth nothing."""
    leaf = issue(DEVICE, by=issue("site-ca"))
    await describe(desk.broker, DEVICE, leaf.pem)
    await refuse(desk, Device(PemSigner(leaf.key_pem)).event(punched(1)), "site's CA")


async def test_a_renewed_certificate_is_taken(desk: Desk):
    """The newest description decides."""
    await desk.take(desk.device.event(punched(1)))
    renewed = issue(DEVICE, by=desk.authority)
    await describe(desk.broker, DEVICE, renewed.pem)
    desk.device.signer = PemSigner(renewed.key_pem)
    assert await desk.take(desk.device.event(punched(2))) == Ack(seq=2)


async def test_a_break_in_the_chain_is_refused(desk: Desk):
    """An event removed between two others shows."""
    await desk.take(desk.device.event(punched(1)))
    desk.device.prev = "f" * 64
    await refuse(desk, desk.device.event(punched(2)), "prev", seq=1)


async def test_a_lost_spool_is_told(desk: Desk):
    """A device that counts from one again is told that its numbers are taken."""
    await desk.take(desk.device.event(punched(1)), desk.device.event(punched(2)))
    desk.device.seq, desk.device.prev = 0, GENESIS
    await refuse(desk, desk.device.event(punched(9)), "spool lost", seq=2)


async def test_a_new_gateway_takes_up_a_chain_that_goes_on(desk: Desk, clock: ManualClock):
    """It has lost its database; the device has not its first events any more. It must insist."""
    events = [desk.device.event(punched(n)) for n in range(8)]
    desk.reborn(clock)
    assert await desk.take(*events[4:6]) == Ack(seq=0)
    clock.advance(30)
    assert await desk.take(*events[4:6]) == Ack(seq=0)
    clock.advance(31)
    assert await desk.take(*events[4:6]) == Ack(seq=6)
    assert await desk.take(*events[6:]) == Ack(seq=8)
    assert [f.seq for f in await desk.facts()] == [5, 6, 7, 8]


async def test_a_first_event_that_comes_late_is_waited_for(desk: Desk, clock: ManualClock):
    """Disorder at the first contact costs nothing."""
    events = [desk.device.event(punched(n)) for n in range(3)]
    desk.reborn(clock)
    assert await desk.take(events[1]) == Ack(seq=0)
    clock.advance(61)
    assert await desk.take(events[2], events[0]) == Ack(seq=3)


async def test_an_event_id_is_used_once(desk: Desk):
    """Facts are idempotent by id; a second event under it would vanish downstream."""
    first = desk.device.event(punched(1))
    await desk.take(first)
    second = desk.device.event(punched(2))
    copied = second.model_copy(update={"id": first.id}).signed(desk.device.signer)
    await refuse(desk, copied, "already used", seq=1)


async def test_what_is_no_event_is_refused_by_field(desk: Desk):
    """Garbage, another site, another topic."""
    await refuse(desk, b"\xff{", "envelope")
    await refuse(desk, b'{"id": 1}', "id")
    elsewhere = Device(desk.device.signer, site="other")
    await refuse(desk, elsewhere.event(punched(1)), "another device")


async def test_a_body_nobody_understands_is_kept(desk: Desk):
    """The chain goes on, and the evidence is there."""
    event = desk.device.event(punched(1))
    strange = event.model_copy(update={"body": {"key": 7}}).signed(desk.device.signer)
    assert await desk.take(strange) == Ack(seq=1)
    assert await desk.facts() == []


async def test_a_register_that_comes_late_names_what_was_stored_before(desk: Desk, tmp_path: Path):
    """Stated again, once, under its id with a new message id; what was named stays as it is."""
    desk.store = StateStore(tmp_path / "new.db")
    desk.reborn()
    await desk.take(desk.device.event(punched(1)), desk.device.event(punched(2, user="1002")))
    first, second = await desk.facts()
    assert [(f.person, f.place, f.revision) for f in (first, second)] == [(None, None, 0)] * 2
    await desk.store.put_site(REGISTER)
    await desk.store.put_site(REGISTER)
    again = (await desk.facts())[2:]
    whose = {"person": "liu-yang", "place": "counter-07", "revision": 1}
    assert again[0] == first.model_copy(update=whose)
    assert again[1] == second.model_copy(update={**whose, "person": None})
    assert len({fact.id for _, fact in await desk.store.pending(10)}) == 4
    persons = (
        PersonEntry(id="sun-lei", name="孙磊", terminal_users=("1001", "1002")),
        PersonEntry(id="liu-yang", name="刘洋"),
    )
    desk.reborn()
    await desk.store.put_site(REGISTER.model_copy(update={"version": 2, "persons": persons}))
    (last,) = (await desk.facts())[4:]
    assert (last.id, last.person, last.revision) == (second.id, "sun-lei", 2)
    await desk.store.put_site(REGISTER.model_copy(update={"version": 3}))
    assert len(await desk.facts()) == 5
    await desk.store.close()


async def test_a_register_that_comes_while_a_punch_is_taken_names_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The punch was understood without a register and is stored after it came."""
    desk.store = StateStore(tmp_path / "new.db")
    accept = desk.store.accept

    async def late(events: list[AcceptedEvent]) -> None:
        await desk.store.put_site(REGISTER)
        await accept(events)

    monkeypatch.setattr(desk.store, "accept", late)
    desk.reborn()
    await desk.take(desk.device.event(punched(1)))
    assert [(f.person, f.revision) for f in await desk.facts()] == [(None, 0), ("liu-yang", 1)]
    await desk.store.close()


async def test_a_database_of_the_first_version_goes_on(tmp_path: Path):
    """It gets what the second version keeps, and nothing in it changes."""
    store = StateStore(tmp_path / "state.db")
    await store.put_site(REGISTER)
    identity = store.identity
    await store.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as old:
        old.executescript("DROP TABLE unnamed; PRAGMA user_version = 1;")
    for _ in range(2):
        store = StateStore(tmp_path / "state.db")
        assert store.identity == identity
        assert await store.site() == REGISTER
        assert await store.put_site(REGISTER.model_copy(update={"version": 2}))
        await store.close()
        with closing(sqlite3.connect(tmp_path / "state.db")) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (2,)
            db.execute("UPDATE site SET version = 1, body = ?", (REGISTER.model_dump_json(),))
            db.commit()


async def test_a_device_nobody_knows_is_refused(desk: Desk):
    """Without a description there is nothing to check a signature against."""
    desk.broker = FakeBroker()
    desk.reborn()
    await refuse(desk, desk.device.event(punched(1)), "description")


async def test_nothing_is_acknowledged_that_is_not_stored(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    """A full disk costs a delay and no event."""
    event = desk.device.event(punched(1))
    accept = desk.store.accept

    async def full(_: list[AcceptedEvent]) -> None:
        raise Unavailable("disk full")

    monkeypatch.setattr(desk.store, "accept", full)
    with pytest.raises(Unavailable):
        await desk.take(event)
    assert desk.broker.acks == []
    monkeypatch.setattr(desk.store, "accept", accept)
    assert await desk.take(event) == Ack(seq=1)
