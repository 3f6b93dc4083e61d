"""The reason before the footage, and the register of who saw what."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.timestamps import NS, NS_PER_MS
from contracts.wire.footage import Gap, Span, Timeline
from tests.integration.central.case_run import ok, open_case, run_step, start_step
from tests.integration.central.conftest import RunningCentral

pytestmark = pytest.mark.integration

REASON = {"reason": "群众投诉：核对收件经过", "basis": "complaint", "step": 1}
STREAM = "cam-07-front.main"


async def test_footage_opens_with_a_registered_reason_only(central: RunningCentral) -> None:
    """No lanes without it; with it the step's own streams within its own time."""
    clerk, inspector = await central.sign_in("liu-yang"), await central.sign_in("zhou-zheng")
    case = await open_case(clerk)
    path = f"/api/cases/{case['no']}"
    assert (await inspector.post(f"{path}/retrievals", json=REASON)).status_code == 409
    case = await start_step(clerk, case, 1)
    began = central.clock.now()
    central.clock.advance(60)
    short = {**REASON, "reason": "看看"}
    answer = await inspector.post(f"{path}/retrievals", json=short)
    assert (answer.status_code, answer.json()["field"]) == (422, "reason")
    blank = {**REASON, "reason": " " * 12}
    assert (await inspector.post(f"{path}/retrievals", json=blank)).status_code == 422

    span = {"from_ms": began // NS_PER_MS - 60_000, "to_ms": began // NS_PER_MS + 120_000}
    lanes = await ok(await inspector.get(f"{path}/timeline", params=span))
    assert lanes["streams"] == []
    assert [e["kind"] for e in lanes["operations"]] == ["case.opened", "step.started"]
    assert central.gateways.asked == []

    retrieval = await ok(await inspector.post(f"{path}/retrievals", json=REASON))
    assert retrieval["from_ms"] == (began - 10 * NS) // NS_PER_MS
    assert retrieval["expires_ms"] == retrieval["at_ms"] + 2 * 3600 * 1000
    central.gateways.timelines[STREAM] = Timeline(
        stream=STREAM,
        from_ns=began,
        to_ns=began + 30 * NS,
        recorded=(Span(from_ns=began, to_ns=began + 20 * NS),),
        gaps=(Gap(from_ns=began + 20 * NS, to_ns=None, cause="no_media"),),
        codec="avc1.4d0028",
    )
    query = {**span, "retrieval": retrieval["id"]}
    lanes = await ok(await inspector.get(f"{path}/timeline", params=query))
    assert [lane["stream"] for lane in lanes["streams"]] == [STREAM]
    assert lanes["streams"][0]["playable"] is True
    assert lanes["streams"][0]["gaps"][0]["to_ms"] is None
    _, permit, asked = central.gateways.asked[-1]
    assert (permit.use, permit.case, permit.streams) == ("replay", case["no"], (STREAM,))
    assert asked is not None
    assert asked[0] == began - 10 * NS, "nothing before the step's roll is asked for"

    central.gateways.away = True
    lanes = await ok(await inspector.get(f"{path}/timeline", params=query))
    assert lanes["streams"][0]["reachable"] is False


async def test_views_are_counted_and_end_with_the_retrieval(central: RunningCentral) -> None:
    """Playlists count, files and ranges pass through; two hours later all is closed."""
    clerk, inspector = await central.sign_in("liu-yang"), await central.sign_in("zhou-zheng")
    case = await run_step(clerk, await open_case(clerk), 1)
    retrieval = await ok(await inspector.post(f"/api/cases/{case['no']}/retrievals", json=REASON))
    base = f"/api/replay/{retrieval['id']}/{STREAM}"
    span = {"from_ms": retrieval["from_ms"], "to_ms": retrieval["to_ms"]}
    for _ in range(2):
        answer = await inspector.get(f"{base}/index.m3u8", params=span)
        assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert answer.content.startswith(b"#EXTM3U")
    answer = await inspector.get(f"{base}/files/17.mp4", headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, b"bytes of 17")
    outside = {"from_ms": retrieval["to_ms"] + 1, "to_ms": retrieval["to_ms"] + 1000}
    answer = await inspector.get(f"{base}/index.m3u8", params=outside)
    assert (answer.status_code, answer.json()["code"]) == (403, "outside_retrieval")
    other = base.replace("cam-07", "cam-08")
    assert (await inspector.get(f"{other}/index.m3u8", params=span)).status_code == 403

    register = await ok(await inspector.get("/api/retrievals", params={"month": "2026-11"}))
    assert register["total"] == 1
    line = register["items"][0]
    assert (line["views"], line["user_name"], line["unit"]) == (2, "周正", "监察室")
    assert line["reason"] == REASON["reason"]
    december = await ok(await inspector.get("/api/retrievals", params={"month": "2026-12"}))
    assert december == {"total": 0, "items": []}

    central.clock.advance(2 * 3600)
    answer = await inspector.get(f"{base}/index.m3u8", params=span)
    assert (answer.status_code, answer.json()["code"]) == (403, "retrieval_expired")
    assert (await inspector.get(f"{base}/files/17.mp4")).status_code == 403


async def test_a_registered_reason_is_personal(central: RunningCentral) -> None:
    """Who did not give it cannot use it; and it does not open another case."""
    clerk, inspector = await central.sign_in("liu-yang"), await central.sign_in("zhou-zheng")
    case = await run_step(clerk, await open_case(clerk), 1)
    other = await open_case(clerk)
    retrieval = await ok(await inspector.post(f"/api/cases/{case['no']}/retrievals", json=REASON))
    query = {"from_ms": 1, "to_ms": 2, "retrieval": retrieval["id"]}
    answer = await inspector.get(f"/api/cases/{other['no']}/timeline", params=query)
    assert answer.status_code == 404
    head = await central.sign_in("chen-gang")
    answer = await head.get(f"/api/cases/{case['no']}/timeline", params=query)
    assert answer.status_code == 404


async def test_the_journals_are_chained_and_only_grow(
    central: RunningCentral, engine: AsyncEngine
) -> None:
    """A changed audit row is found by its number; the database refuses to change one."""
    await central.sign_in("liu-yang")
    await central.sign_in("zhou-zheng")
    store = central.app.state.context.store
    async with store.transaction() as tx:
        assert await tx.journal.check_audit() is None
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as db:
            await db.execute(text("UPDATE audit_events SET username = 'x' WHERE seq = 2"))
    async with engine.begin() as db:
        await db.execute(text("ALTER TABLE audit_events DISABLE TRIGGER append_only"))
        await db.execute(text("UPDATE audit_events SET username = 'x' WHERE seq = 2"))
    async with store.transaction() as tx:
        assert await tx.journal.check_audit() == 2
