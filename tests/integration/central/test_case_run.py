"""Cases over the API on a real PostgreSQL."""

import asyncio

import pytest

from tests.integration.central.case_run import (
    FORMS,
    check_materials,
    finish_step,
    ok,
    open_case,
    run_step,
    start_step,
)
from tests.integration.central.conftest import RunningCentral

pytestmark = pytest.mark.integration


async def test_a_case_runs_from_receipt_to_delivery(central: RunningCentral) -> None:
    """Seven steps by two roles; states, clocks and history follow."""
    clerk = await central.sign_in("liu-yang")
    head = await central.sign_in("chen-gang")
    case = await open_case(clerk)
    assert case["no"] == "SP20261125-0001"
    assert case["applicant_masked"] == "王**"
    assert case["state"] == "received"
    states = []
    for step in case["steps"]:
        user = clerk if step["role"] == "clerk" else head
        central.clock.advance(3600)
        case = await run_step(user, case, step["seq"])
        states.append(case["state"])
    assert states == [
        "received",
        "accepted",
        "in_progress",
        "in_progress",
        "decided",
        "decided",
        "delivered",
    ]
    assert [s["state"] for s in case["steps"]] == ["done"] * 7
    clocks = {c["clock"]: c for c in case["clocks"]}
    assert clocks["statutory"]["state"] == "met"
    assert clocks["statutory"]["due_date"] == "2026-12-23"
    assert clocks["promised"]["due_date"] == "2026-12-11"
    assert clocks["delivery"]["due_date"] == "2026-12-09"
    assert case["events"][-1]["text"] == "办结「送达」"
    assert case["guards"] == []
    listed = await ok(await clerk.get("/api/cases", params={"q": case["no"][-4:]}))
    assert listed["total"] == 1
    assert listed["items"][0]["state"] == "delivered"


async def test_two_clerks_finish_the_same_step_and_one_is_told(central: RunningCentral) -> None:
    """No lost update: the second gets 409 and nothing of his is stored."""
    one, two = await central.sign_in("liu-yang"), await central.sign_in("he-fang")
    case = await start_step(one, await open_case(one), 1)
    case = await check_materials(one, case)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(finish_step(user, case, 1, note=note))
            for user, note in ((one, "甲"), (two, "乙"))
        ]
    answers = [task.result() for task in tasks]
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    lost = next(answer for answer in answers if answer.status_code == 409)
    won = next(answer for answer in answers if answer.status_code == 200)
    assert lost.json()["code"] == "stale"
    now = await ok(await one.get(f"/api/cases/{case['no']}"))
    assert now["steps"][0]["values"]["note"] == won.json()["steps"][0]["values"]["note"]
    assert [e["kind"] for e in now["events"]].count("step.finished") == 1


async def test_the_licence_cannot_be_made_before_the_approval(central: RunningCentral) -> None:
    """制证 is locked before 批准; the guard names article and what to do."""
    clerk = await central.sign_in("liu-yang")
    case = await open_case(clerk)
    answer = await clerk.post(
        f"/api/cases/{case['no']}/steps/6/start", json={"place": "counter-07"}
    )
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["code"] == "out_of_order"
    assert problem["article"] == "《中华人民共和国行政许可法》第三十九条"
    assert problem["guards"][0]["action"] == "先办结「收件」"


async def test_the_handler_may_not_review(central: RunningCentral) -> None:
    """A unit head who took part in the site check is refused at 审核."""
    clerk, head = await central.sign_in("liu-yang"), await central.sign_in("chen-gang")
    case = await open_case(clerk)
    case = await run_step(clerk, case, 1)
    case = await run_step(clerk, case, 2)
    case = await run_step(clerk, case, 3, inspector_2="chen-gang")
    answer = await head.post(f"/api/cases/{case['no']}/steps/4/start", json={"place": "counter-07"})
    assert answer.status_code == 403
    assert answer.json()["code"] == "same_person"


async def test_errors_of_a_form_name_their_fields(central: RunningCentral) -> None:
    """A site check by one person twice, with a missing date and a wrong choice."""
    clerk = await central.sign_in("liu-yang")
    case = await open_case(clerk)
    case = await run_step(clerk, case, 1)
    case = await run_step(clerk, case, 2)
    case = await start_step(clerk, case, 3)
    answer = await finish_step(
        clerk, case, 3, inspector_2="liu-yang", checked_on="", finding="也许"
    )
    assert answer.status_code == 422
    guards = {guard["code"]: guard for guard in answer.json()["guards"]}
    assert guards["field_missing"]["field"] == "values.checked_on"
    assert guards["not_a_choice"]["field"] == "values.finding"
    assert guards["staff_not_distinct"]["article"] == "《中华人民共和国行政许可法》第三十四条第三款"


async def test_a_draft_is_kept_and_guards_against_lost_updates(central: RunningCentral) -> None:
    """Saving raises the revision; an older page is refused; finishing drops the draft."""
    clerk = await central.sign_in("liu-yang")
    case = await start_step(clerk, await open_case(clerk), 1)
    path = f"/api/cases/{case['no']}/steps/1/draft"
    first = {"values": {"premises": "示范路"}, "revision": case["revision"]}
    saved = await ok(await clerk.put(path, json=first))
    assert saved["steps"][0]["values"] == {"premises": "示范路"}
    assert saved["saved_ms"] == central.clock.now() // 1_000_000
    assert (await clerk.put(path, json=first)).status_code == 409
    wrong = {"values": {"nonsense": "x"}, "revision": saved["revision"]}
    answer = await clerk.put(path, json=wrong)
    assert (answer.status_code, answer.json()["field"]) == (422, "values.nonsense")
    done = await ok(await finish_step(clerk, await check_materials(clerk, saved), 1))
    assert done["steps"][0]["values"] == FORMS["receive"]


async def test_suspended_clocks_move_the_due_date(central: RunningCentral) -> None:
    """Five working days of a special procedure are not counted; 为什么 shows them."""
    clerk = await central.sign_in("liu-yang")
    case = await open_case(clerk)
    case = await run_step(clerk, case, 1)
    case = await run_step(clerk, case, 2)
    body = {"reason": "检验检测", "notice_no": "告字1号", "revision": case["revision"]}
    case = await ok(await clerk.post(f"/api/cases/{case['no']}/suspend", json=body))
    assert {c["state"] for c in case["clocks"]} == {"suspended"}
    assert case["guards"][0]["code"] == "suspended"
    central.clock.advance(7 * 86_400)
    clerk = await central.sign_in("liu-yang")  # the session was idle for a week
    case = await ok(await clerk.post(f"/api/cases/{case['no']}/resume"))
    statutory = next(c for c in case["clocks"] if c["clock"] == "statutory")
    assert statutory["due_date"] == "2026-12-29"
    why = await ok(await clerk.get(f"/api/cases/{case['no']}/clocks/statutory/why"))
    assert [d["kind"] for d in why["days"]].count("suspended") == 6
    assert any("告字1号" in rule["source"] for rule in why["rules"])


async def test_a_due_date_in_an_unpublished_year_is_provisional(central: RunningCentral) -> None:
    """Accepted on 2026-12-04: twenty working days end on 2027-01-04, 暂定."""
    central.clock.advance(9 * 86_400)
    clerk = await central.sign_in("liu-yang")
    case = await run_step(clerk, await run_step(clerk, await open_case(clerk), 1), 2)
    due = next(c for c in case["clocks"] if c["clock"] == "statutory")
    assert (due["due_date"], due["due_status"]) == ("2027-01-04", "provisional")
    why = await ok(await clerk.get(f"/api/cases/{case['no']}/clocks/statutory/why"))
    assert [rule["text"] for rule in why["rules"] if rule["pending"]] == [
        "2027 年放假安排尚未公布，暂按周末和法定节假日推算，公布后自动重算"
    ]
