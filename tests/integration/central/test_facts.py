"""Facts of gateways: the same rows whatever the order and number of their arrivals."""

import random

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from central.adapters import tables
from central.handlers import facts
from contracts.timestamps import NS, NS_PER_MS
from contracts.wire.access import PunchFact
from contracts.wire.footage import FootageLinkFact, Gap, StreamCoverage
from contracts.wire.presence import DeviceHealthFact, PresenceFact
from tests.integration.central.case_run import ok, open_case, start_step
from tests.integration.central.conftest import RunningCentral

pytestmark = pytest.mark.integration

T0 = 1_795_600_000 * NS
TABLES = (tables.punches, tables.presence, tables.device_health, tables.footage_links)


def punch(seq: int) -> PunchFact:
    return PunchFact(
        id=f"punch-{seq}",
        device="zk-07",
        seq=seq,
        place="counter-07",
        person="liu-yang",
        terminal_user="1001",
        at_ns=T0 + seq * NS,
        observed_ns=T0 + seq * NS,
        verify="finger",
        direction="in",
        origin="live",
    )


def late_register(seq: int) -> list[PunchFact]:
    """A punch stated before the register came, then with its place, then with its person too."""
    whole = punch(seq)
    bare = whole.model_copy(update={"person": None, "place": None})
    placed = whole.model_copy(update={"person": None, "revision": 1})
    return [bare, placed, whole.model_copy(update={"revision": 2})]


def presence(revision: int) -> PresenceFact:
    return PresenceFact(
        id="presence-1",
        revision=revision,
        place="counter-07",
        device="cam-07-front",
        state="present",
        from_ns=T0,
        to_ns=None if revision < 3 else T0 + 60 * NS,
        most_people=revision,
        model="detector 1",
    )


def health(number: int) -> DeviceHealthFact:
    return DeviceHealthFact(
        id=f"health-{number}",
        device="cam-07-front",
        health="offline" if number % 2 else "online",
        cause="unreachable" if number % 2 else "ok",
        at_ns=T0 + number // 2 * NS,
        maker="海康威视",
        model=f"DS-{number}",
        firmware="V5.7",
        serial="S-1",
    )


def link(revision: int, *, case: str = "c", step: str = "c.1") -> FootageLinkFact:
    gap = Gap(from_ns=T0 + 50 * NS, to_ns=T0 + 70 * NS, cause="camera_unreachable")
    stream = StreamCoverage(
        stream="cam-07-front.main",
        device="cam-07-front",
        recorded=(),
        gaps=(gap,),
        covered_permille=900 + revision,
    )
    return FootageLinkFact(
        step=step,
        case=case,
        place="counter-07",
        revision=revision,
        from_ns=T0,
        to_ns=T0 + 60 * NS,
        pre_roll_ms=10_000,
        post_roll_ms=10_000,
        final=revision == 3,
        streams=(stream,),
        covered_permille=900 + revision,
    )


async def rows(engine: AsyncEngine) -> list[list[dict[str, object]]]:
    found = []
    async with engine.connect() as db:
        for table in TABLES:
            order = list(table.primary_key.columns)
            result = await db.execute(select(table).order_by(*order))
            found.append([dict(row) for row in result.mappings()])
    return found


async def test_order_and_repetition_of_facts_do_not_matter(
    central: RunningCentral, engine: AsyncEngine
) -> None:
    """Twice in a shuffled order, then twice in another: the rows are those of the first run."""
    all_facts = [
        *(punch(seq) for seq in range(1, 6)),
        *late_register(6),
        *(presence(revision) for revision in (1, 2, 3)),
        *(health(number) for number in range(6)),
        *(link(revision) for revision in (1, 2, 3)),
    ]
    ctx = central.app.state.context
    expected = None
    for seed in (1, 2, 3):
        shuffled = [*all_facts, *all_facts]
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
        outcomes = [
            await facts.take(
                ctx,
                site="demo",
                subject=f"mj.v1.demo.gateway.fact.{fact.KIND}",
                raw=fact.model_dump_json().encode(),
            )
            for fact in shuffled
        ]
        found = await rows(engine)
        expected = expected or found
        assert found == expected
        if seed > 1:
            assert set(outcomes) == {"known"}
    assert expected is not None
    assert [row["id"] for row in expected[0]] == [f"punch-{n}" for n in range(1, 7)]
    assert [(row["person"], row["place"]) for row in expected[0][4:]] == [
        ("liu-yang", "counter-07")
    ] * 2
    assert expected[0][5]["body"]["person"] == "liu-yang"
    assert [row["revision"] for row in expected[1]] == [3]
    assert [row["fact_id"] for row in expected[2]] == ["health-5"]
    assert [row["covered_permille"] for row in expected[3]] == [903]


async def test_a_late_name_is_added_and_never_replaced(
    central: RunningCentral, engine: AsyncEngine
) -> None:
    """Whose punch it was may be told later, not told otherwise, nor by another site or device."""
    ctx = central.app.state.context

    async def state(fact: PunchFact, site: str = "demo") -> str:
        raw = fact.model_dump_json().encode()
        subject = f"mj.v1.{site}.gateway.fact.punch"
        return await facts.take(ctx, site=site, subject=subject, raw=raw)

    bare, _, whole = late_register(1)
    # As an older program stored it: without a revision.
    old = {k: v for k, v in bare.model_dump(mode="json").items() if k != "revision"}
    assert await state(bare) == "stored"
    async with engine.begin() as db:
        await db.execute(update(tables.punches).values(body=old))
    assert await state(whole, site="other") == "known"
    assert await state(whole.model_copy(update={"device": "zk-08"})) == "known"
    assert await state(whole) == "stored"
    other = whole.model_copy(update={"person": "sun-lei", "revision": 9})
    assert await state(other) == "known"
    assert await state(bare) == "known"
    async with engine.connect() as db:
        (row,) = (await db.execute(select(tables.punches))).mappings()
    assert (row["person"], row["place"], row["device"]) == ("liu-yang", "counter-07", "zk-07")
    assert PunchFact.model_validate(row["body"]) == whole


async def test_what_cannot_be_read_is_kept_aside(
    central: RunningCentral, engine: AsyncEngine
) -> None:
    """Unknown kinds, broken JSON and missing fields are stored with the reason."""
    ctx = central.app.state.context
    for kind, raw in (("dream", b"{}"), ("punch", b"{"), ("punch", b'{"id":"x"}')):
        subject = f"mj.v1.demo.gateway.fact.{kind}"
        assert await facts.take(ctx, site="demo", subject=subject, raw=raw) == "rejected"
    async with engine.connect() as db:
        kept = (await db.execute(select(tables.rejected_facts))).mappings().all()
    assert [row["raw"] for row in kept] == [b"{}", b"{", b'{"id":"x"}']
    assert "device" in kept[2]["reason"]


async def test_facts_show_on_the_case_page(central: RunningCentral) -> None:
    """The link of the running step, presence and punches within the range, health of devices."""
    clerk, head = await central.sign_in("liu-yang"), await central.sign_in("chen-gang")
    case = await start_step(clerk, await open_case(clerk), 1)
    ctx = central.app.state.context
    stated = [
        punch(1),
        presence(3),
        health(5),
        link(2, case=case["no"], step=case["steps"][0]["id"]),
    ]
    for fact in stated:
        subject = f"mj.v1.demo.gateway.fact.{fact.KIND}"
        raw = fact.model_dump_json().encode()
        assert await facts.take(ctx, site="demo", subject=subject, raw=raw) == "stored"
    case = await ok(await clerk.get(f"/api/cases/{case['no']}"))
    bound = case["steps"][0]["link"]
    assert (bound["revision"], bound["covered_permille"]) == (2, 902)
    assert bound["streams"][0]["missing_ms"] == 10_000, "only within the step itself"
    span = {"from_ms": T0 // NS_PER_MS, "to_ms": T0 // NS_PER_MS + 2_000}
    lanes = await ok(await head.get(f"/api/cases/{case['no']}/timeline", params=span))
    assert [p["person_name"] for p in lanes["punches"]] == ["刘洋"]
    assert [p["state"] for p in lanes["presence"]] == ["present"]
    before = {"from_ms": T0 // NS_PER_MS - 1000, "to_ms": T0 // NS_PER_MS}
    lanes = await ok(await head.get(f"/api/cases/{case['no']}/timeline", params=before))
    assert (lanes["punches"], lanes["presence"]) == ([], [])
    devices = (await clerk.get("/api/devices")).json()
    assert [(d["id"], d["health"]) for d in devices] == [
        ("cam-07-front", "offline"),
        ("cam-08-front", "planned"),
        ("zk-07", "planned"),
    ]
    about = [[d[name] for name in ("maker", "model", "firmware", "serial")] for d in devices[:2]]
    assert about == [["海康威视", "DS-5", "V5.7", "S-1"], ["", "", "", ""]]
    assert devices[0]["detail"] == "连不上设备：检查电源、网线和地址"
    row = (await ok(await clerk.get("/api/cases")))["items"][0]
    assert row["coverage_permille"] == 902
