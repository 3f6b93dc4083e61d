"""Registry, orders, links, presence and forwarding over a real database and a fake broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.clock import ManualClock, SystemClock
from contracts.errors import Unavailable
from contracts.timestamps import NS, WallTime
from contracts.wire import topics
from contracts.wire.devices import DeviceDesc, DeviceState
from contracts.wire.footage import FootageLinkFact, GapCause, Span, Timeline
from contracts.wire.orders import DeviceEntry, PlaceEntry, SiteOrder, StepOrder
from contracts.wire.presence import DeviceHealthFact, PresenceFact
from gateway.adapters.state_store import StateStore
from gateway.core.detector_lines import Detection
from gateway.core.liveness import Condition
from gateway.ports import Message
from gateway.services.device_registry import DeviceRegistry
from gateway.services.forwarder import Forwarder
from gateway.services.linker import Linker
from gateway.services.order_intake import OrderIntake
from gateway.services.presence_keeper import PresenceKeeper
from tests.fakes.broker import FakeBroker
from tests.waiting import until

CAMERA = "cam-07-front"
MAIN = "cam-07-front.main"
SITE = SiteOrder(
    id="o-1",
    version=3,
    site="demo",
    name="示范区",
    places=(PlaceEntry(id="counter-07", name="07 号窗口", kind="counter"),),
    devices=(
        DeviceEntry(
            id=CAMERA,
            device_class="camera",
            name="窗口正面",
            place="counter-07",
            streams=("main",),
            detects_presence=True,
        ),
    ),
    persons=(),
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StateStore]:
    store = StateStore(tmp_path / "state.db")
    yield store
    await store.close()


async def facts(store: StateStore) -> list[bytes]:
    return [fact.payload for _, fact in await store.pending(1000)]


def message(topic: str, payload: bytes, at: int = 0) -> Message:
    return Message(subject=topics.subject(topic), payload=payload, stored_at=WallTime(at))


class Causes:
    def __init__(self) -> None:
        self.told: list[tuple[str, GapCause | None]] = []
        self.away = False

    async def set_cause(self, stream: str, cause: GapCause | None, detail: str = "") -> None:
        if self.away:
            raise Unavailable("restarting")
        self.told.append((stream, cause))


class Registry:
    """The registry with a clock, a broker and ears."""

    def __init__(self, store: StateStore, clock: ManualClock) -> None:
        self.clock = clock
        self.broker = FakeBroker()
        self.causes = Causes()
        self.heard: list[tuple[str, str]] = []
        self.registry = DeviceRegistry(
            clock=clock,
            broker=self.broker,
            store=store,
            causes=self.causes,
            listen=lambda device, condition, _: self.heard.append((device, condition.health)),
        )

    async def say(
        self, health: str, cause: str, *, offset_ms: int | None = None, pending: int = 0
    ) -> None:
        state = DeviceState.model_validate(
            {
                "health": health,
                "cause": cause,
                "boot": "b",
                "at_ns": 0,
                "clock_offset_ms": offset_ms,
                "spool_pending": pending,
            }
        )
        topic = topics.state("demo", CAMERA)
        now = self.clock.now()
        await self.registry.handle([message(topic, state.model_dump_json().encode(), now)])


async def healths(store: StateStore) -> list[tuple[str, str]]:
    found = [DeviceHealthFact.model_validate_json(f) for f in await facts(store)]
    return [(f.health, f.cause) for f in found]


async def test_health_is_stated_when_it_changes(store: StateStore, clock: ManualClock):
    """Heartbeats say nothing new; silence does, and so does a clock that drifted."""
    desk = Registry(store, clock)
    await store.put_site(SITE)
    for _ in range(5):
        await desk.say("online", "ok", offset_ms=10)
        clock.advance(10)
    await desk.say("online", "ok", offset_ms=900)
    assert await healths(store) == [("online", "ok"), ("online", "ok")]
    clock.advance(31)
    await desk.registry.judge()
    await desk.say("degraded", "bad_credentials")
    assert (await healths(store))[2:] == [
        ("offline", "connection_lost"),
        ("degraded", "bad_credentials"),
    ]
    assert [h for _, h in desk.heard] == ["online", "offline", "degraded"]
    assert desk.causes.told == [
        (MAIN, None),
        (MAIN, "agent_disconnected"),
        (MAIN, "camera_unreachable"),
    ]


async def test_a_backlog_is_stated_when_it_begins_grows_much_and_ends(
    store: StateStore, clock: ManualClock
):
    desk = Registry(store, clock)
    for pending in (0, 1, 1, 0, 100, 120, 250, 200, 0):
        clock.advance(1)
        await desk.say("online", "ok", pending=pending)
    found = [DeviceHealthFact.model_validate_json(f) for f in await facts(store)]
    assert [0, 1, 0, 100, 250, 0] == [fact.spool_pending for fact in found]


async def test_what_a_device_says_it_is_is_stated_with_its_health(
    store: StateStore, clock: ManualClock
):
    """When it is told and when it changes; a restart here or there forgets nothing."""

    async def describe(desk: Registry, **fields: str) -> None:
        desc = DeviceDesc(
            device=CAMERA, device_class="camera", maker="海康威视", certificate="", **fields
        )
        clock.advance(1)
        raw = desc.model_dump_json().encode()
        await desk.registry.handle([message(topics.desc("demo", CAMERA), raw, clock.now())])

    async def stated() -> list[tuple[str, str, str, str]]:
        found = [DeviceHealthFact.model_validate_json(f) for f in await facts(store)]
        return [(f.maker, f.model, f.firmware, f.serial) for f in found]

    desk = Registry(store, clock)
    await desk.say("online", "ok")
    await describe(desk)
    await describe(desk, model="DS-2CD", firmware="V5.7", serial="S-1")
    told = [("", "", "", ""), ("海康威视", "", "", ""), ("海康威视", "DS-2CD", "V5.7", "S-1")]
    assert await stated() == told
    await describe(desk, model="DS-2CD", firmware="V5.7", serial="S-1")
    again = Registry(store, clock)
    clock.advance(1)
    await again.say("online", "ok")
    await describe(again)
    assert await stated() == told
    clock.advance(1)
    await again.say("degraded", "clock_wrong")
    assert (await stated())[3:] == told[2:]
    await describe(again, model="DS-2CD", firmware="V5.8")
    assert (await stated())[4:] == [("海康威视", "DS-2CD", "V5.8", "")]


async def test_our_own_deafness_makes_nobody_offline(store: StateStore, clock: ManualClock):
    """While the broker is away silence proves nothing, nor right after."""
    desk = Registry(store, clock)
    await desk.say("online", "ok")
    await desk.broker.away(True)
    for _ in range(5):
        clock.advance(20)
        await desk.registry.judge()
    await desk.broker.away(False)
    clock.advance(29)
    await desk.registry.judge()
    assert await healths(store) == [("online", "ok")]
    clock.advance(2)
    await desk.registry.judge()
    assert (await healths(store))[-1] == ("offline", "connection_lost")


async def test_a_restart_of_ours_changes_nobodys_health(store: StateStore, clock: ManualClock):
    """Until its state was read again, a device is as it was last stated."""
    await store.put_site(SITE)
    await Registry(store, clock).say("online", "ok")
    again = Registry(store, clock)
    await again.registry.judge()
    await again.say("online", "ok")
    assert await healths(store) == [("online", "ok")]
    silent = Registry(store, clock)
    clock.advance(31)
    await silent.registry.judge()
    assert (await healths(store))[1:] == [("offline", "connection_lost")]


async def test_a_registered_device_that_never_speaks_is_offline(
    store: StateStore, clock: ManualClock
):
    """The device page shows what should be there and is not."""
    desk = Registry(store, clock)
    await store.put_site(SITE)
    await desk.registry.judge()
    clock.advance(31)
    await desk.registry.judge()
    assert (await healths(store))[-1] == ("offline", "connection_lost")


async def test_a_refused_event_degrades_until_one_is_taken(store: StateStore, clock: ManualClock):
    """The reason stands on the device page."""
    desk = Registry(store, clock)
    await desk.say("online", "ok")
    desk.registry.refused(CAMERA, "the signature does not fit")
    await desk.registry.judge()
    desk.registry.heard(CAMERA)
    await desk.registry.judge()
    assert await healths(store) == [
        ("online", "ok"),
        ("degraded", "gateway_refused"),
        ("online", "ok"),
    ]


async def test_causes_reach_a_media_process_that_restarts(store: StateStore, clock: ManualClock):
    """While it is away they wait; when it is new it hears all of them."""
    desk = Registry(store, clock)
    await store.put_site(SITE)
    desk.causes.away = True
    await desk.say("degraded", "unreachable")
    assert desk.causes.told == []
    desk.causes.away = False
    await desk.registry.judge()
    await desk.registry.judge()
    assert desk.causes.told == [(MAIN, "camera_unreachable")]
    desk.registry.forget_causes()
    await desk.registry.judge()
    assert desk.causes.told == [(MAIN, "camera_unreachable")] * 2


async def test_unreadable_states_hurt_nobody_else(store: StateStore, clock: ManualClock):
    """Garbage, a description in another's name, then a good one."""
    desk = Registry(store, clock)
    liar = DeviceDesc(device="cam-08", device_class="camera", certificate="")
    desc = DeviceDesc(device=CAMERA, device_class="camera", certificate="pem")
    topic = topics.desc("demo", CAMERA)
    await desk.registry.handle(
        [
            message(topics.state("demo", CAMERA), b"\xff"),
            message(topic, liar.model_dump_json().encode()),
            message(topic, desc.model_dump_json().encode()),
        ]
    )
    assert await store.description(CAMERA) == desc


async def test_orders_take_effect_once(store: StateStore):
    """An older register does not replace a newer one; a step that ended stays ended."""
    changes = 0

    def changed() -> None:
        nonlocal changes
        changes += 1

    intake = OrderIntake(site="demo", store=store, changed=changed)
    step = StepOrder(
        id="e",
        step="s",
        case="c",
        place="counter-07",
        person="p",
        started_ns=5,
        ended_ns=None,
    )
    ended = step.model_copy(update={"id": "e2", "ended_ns": 9})
    site, steps = topics.order("demo", "site"), topics.order("demo", "step")
    old = SITE.model_copy(update={"version": 2, "name": "old"})
    foreign = SITE.model_copy(update={"version": 9, "site": "other"})
    await intake.handle(
        [
            message(site, SITE.model_dump_json().encode()),
            message(site, old.model_dump_json().encode()),
            message(site, foreign.model_dump_json().encode()),
            message(site, b"{}"),
            message(steps, ended.model_dump_json().encode()),
            message(steps, step.model_dump_json().encode()),
            message(topics.order("demo", "later"), b"{}"),
        ]
    )
    assert await store.site() == SITE
    (known,) = await store.steps(ended_after=0)
    assert known.order.ended_ns == 9
    assert changes == 1


class Footage:
    """Recorded without a gap up to `until`; handle: `until`, `away`."""

    def __init__(self, until: int) -> None:
        self.until = until
        self.away = False

    def streams(self) -> list[str]:
        return [MAIN]

    def timeline(self, stream: str, start: WallTime, end: WallTime) -> Timeline:
        if self.away:
            raise Unavailable("disk away")
        upto = min(end, self.until)
        spans = (Span(from_ns=start, to_ns=upto),) if upto > start else ()
        return Timeline(
            stream=stream, from_ns=start, to_ns=end, recorded=spans, gaps=(), codec=None
        )


async def test_a_step_is_linked_at_once_and_finally(store: StateStore, clock: ManualClock):
    """Told, linked; ended, stated again; final when the post-roll is on the disk."""
    await store.put_site(SITE)
    footage = Footage(clock.now())
    linker = Linker(clock=clock, store=store, footage=footage)
    started = clock.now()
    step = StepOrder(
        id="e",
        step="s",
        case="c",
        place="counter-07",
        person="p",
        started_ns=started,
        ended_ns=None,
    )
    await store.put_step(step)
    (first,) = await linker.judge()
    assert (first.revision, first.final, len(first.streams)) == (1, False, 1)
    clock.advance(3)
    assert await linker.judge() == []
    await store.put_step(step.model_copy(update={"ended_ns": clock.now()}))
    (ended,) = await linker.judge()
    assert (ended.revision, ended.final) == (2, False)
    clock.advance(11)
    assert await linker.judge() == []
    footage.until = clock.now()
    (final,) = await linker.judge()
    assert (final.revision, final.final, final.covered_permille) == (3, True, 1000)
    assert await linker.judge() == []
    told = [FootageLinkFact.model_validate_json(f) for f in await facts(store)]
    assert told == [first, ended, final]
    clock.advance(3600)
    assert await store.steps(ended_after=clock.now() - 600 * NS) == []


async def test_a_new_step_does_not_wait_for_the_tick(store: StateStore):
    """Woken, the linker judges now; a disk that is away is waited for."""
    clock = SystemClock()
    await store.put_site(SITE)
    footage = Footage(clock.now() + 3600 * NS)
    footage.away = True
    linker = Linker(clock=clock, store=store, footage=footage)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(linker.run())
        await store.put_step(
            StepOrder(
                id="e",
                step="s",
                case="c",
                place="counter-07",
                person="p",
                started_ns=clock.now(),
                ended_ns=None,
            )
        )
        linker.wake()
        await asyncio.sleep(0)
        footage.away = False
        linker.wake()
        await until(lambda: facts(store))
        running.cancel()


def keeper(store: StateStore, clock: ManualClock, watched: list[list[str]]) -> PresenceKeeper:
    return PresenceKeeper(clock=clock, store=store, model="yunet 2023mar", watch=watched.append)


async def told(store: StateStore) -> list[tuple[str, int, int | None]]:
    """The last word on each interval: state, revision, end."""
    found = {f.id: f for f in map(PresenceFact.model_validate_json, await facts(store))}
    return [(f.state, f.revision, f.to_ns) for f in found.values()]


async def test_presence_is_kept_over_a_restart(store: StateStore, clock: ManualClock):
    """What an earlier run left open is closed where it was last known to hold."""
    await store.put_site(SITE)
    watched: list[list[str]] = []
    first = keeper(store, clock, watched)
    await first.restate()
    assert watched == [[MAIN]]
    began = clock.now()
    for _ in range(10):
        clock.advance(2)
        first.saw(Detection(stream=MAIN, at=clock.now(), people=1))
        first.saw(Detection(stream="cam-99.main", at=clock.now(), people=5))
        await first.restate()
    seen = clock.now()
    assert await told(store) == [("unknown", 2, began + 2 * NS), ("present", 1, None)]

    clock.advance(60)
    second = keeper(store, clock, watched)
    await second.close_left_open()
    await second.restate()
    present, unknown = (await told(store))[1:]
    assert (present[0], present[1]) == ("present", 2)
    assert present[2] is not None
    assert seen - 10 * NS <= present[2] <= seen
    assert unknown == ("unknown", 1, None)
    assert len(await store.open_intervals()) == 1


async def test_an_offline_camera_proves_nothing(store: StateStore, clock: ManualClock):
    """Its post is unknown, with the cause, and not empty."""
    await store.put_site(SITE)
    one = keeper(store, clock, [])
    await one.restate()
    for _ in range(5):
        clock.advance(2)
        one.saw(Detection(stream=MAIN, at=clock.now(), people=1))
    one.device_condition(
        CAMERA, Condition(health="offline", cause="connection_lost", detail="断线"), clock.now()
    )
    await one.restate()
    (last,) = [f for f, _ in await store.open_intervals()]
    assert (last.state, last.cause) == ("unknown", "断线")


async def test_a_detector_without_its_model_makes_every_post_unknown(
    store: StateStore, clock: ManualClock
):
    """The cause is the missing model and not an empty chair."""
    await store.put_site(SITE)
    one = keeper(store, clock, [])
    one.blind("模型还没有下载")
    await one.restate()
    clock.advance(60)
    await one.restate()
    (first,) = [f for f, _ in await store.open_intervals()]
    assert (first.state, first.cause) == ("unknown", "模型还没有下载")
    one.blind("")
    for _ in range(3):
        clock.advance(2)
        one.saw(Detection(stream=MAIN, at=clock.now(), people=1))
    await one.restate()
    one.blind("模型已损坏")
    await one.restate()
    (last,) = [f for f, _ in await store.open_intervals()]
    assert (last.state, last.cause) == ("unknown", "模型已损坏")


async def test_a_database_knows_whether_it_is_new(tmp_path: Path):
    """The same after a restart; another one has another name, and reads inboxes from the start."""
    path = tmp_path / "a.db"
    first = StateStore(path)
    await first.close()
    again, other = StateStore(path), StateStore(tmp_path / "b.db")
    assert again.identity == first.identity
    assert other.identity != first.identity
    await again.close()
    await other.close()


async def test_what_is_no_database_is_one_line(tmp_path: Path):
    """Garbage where the database should be, or a newer one, names the file."""
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match=r"state\.db"):
        StateStore(path)


async def test_facts_flow_in_order_and_resume(store: StateStore):
    """A broker that comes and goes delays facts and neither loses nor swaps any."""
    broker = FakeBroker()
    await broker.away(True)
    forwarder = Forwarder(broker=broker, outbox=store, clock=SystemClock())

    async def state(n: int) -> None:
        await store.state_health(
            DeviceHealthFact(id=f"h-{n}", device=CAMERA, health="online", cause="ok", at_ns=n)
        )

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(forwarder.run())
        for n in range(3):
            await state(n)
        await broker.away(False)
        await until(lambda: len(broker.facts) == 3)
        await state(3)
        await until(lambda: len(broker.facts) == 4)
        running.cancel()
    assert [f.id for f in broker.facts] == ["h-0", "h-1", "h-2", "h-3"]
    assert await store.pending(10) == []
