"""Walks a case through its steps over the API, as pages do."""

from typing import Any

import httpx

FORMS: dict[str, dict[str, str]] = {
    "receive": {"applicant_kind": "个体工商户", "premises": "示范路 1 号", "business": "热食类"},
    "accept": {"decision": "受理"},
    "site-check": {
        "inspector_1": "liu-yang",
        "inspector_2": "he-fang",
        "checked_on": "2026-11-26",
        "finding": "符合要求",
    },
    "review": {"opinion": "同意上报"},
    "approve": {"decision": "准予许可"},
    "make-licence": {"licence_no": "JY100"},
    "deliver": {"way": "窗口领取", "receiver": "王小明"},
}
NEW = {"item": "food-licence-new", "applicant": "王小明", "place": "counter-07"}


async def ok(answer: httpx.Response) -> dict[str, Any]:
    """The body of an answer that must have succeeded."""
    assert answer.is_success, f"{answer.request.url} {answer.status_code} {answer.text}"
    body: dict[str, Any] = answer.json()
    return body


async def open_case(clerk: httpx.AsyncClient) -> dict[str, Any]:
    """A new case."""
    return await ok(await clerk.post("/api/cases", json=NEW))


async def start_step(
    user: httpx.AsyncClient, case: dict[str, Any], seq: int, place: str = "counter-07"
) -> dict[str, Any]:
    """Begin a step."""
    path = f"/api/cases/{case['no']}/steps/{seq}/start"
    return await ok(await user.post(path, json={"place": place}))


async def check_materials(user: httpx.AsyncClient, case: dict[str, Any]) -> dict[str, Any]:
    """Mark every required material as checked."""
    for material in case["materials"]:
        if material["required"] and material["state"] != "checked":
            path = f"/api/cases/{case['no']}/materials/{material['code']}"
            body = {"state": "checked", "note": "", "revision": case["revision"]}
            case = await ok(await user.put(path, json=body))
    return case


async def finish_step(
    user: httpx.AsyncClient, case: dict[str, Any], seq: int, **changed: str
) -> httpx.Response:
    """Hand in a step's form."""
    code = case["steps"][seq - 1]["code"]
    return await user.post(
        f"/api/cases/{case['no']}/steps/{seq}/finish",
        json={"values": {**FORMS[code], **changed}, "revision": case["revision"]},
    )


async def run_step(
    user: httpx.AsyncClient, case: dict[str, Any], seq: int, **changed: str
) -> dict[str, Any]:
    """Begin and finish a step."""
    case = await start_step(user, case, seq)
    if case["steps"][seq - 1]["role"] == "clerk":
        case = await check_materials(user, case)
    return await ok(await finish_step(user, case, seq, **changed))
