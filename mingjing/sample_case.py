"""A clerk runs the first steps of a case while a finger is laid on the terminal."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from central.api.schemas import Case, FormField, NewCase, Step
from contracts.clock import SystemClock
from contracts.errors import Unavailable
from contracts.timestamps import CHINA, NS, NS_PER_MS, to_datetime
from mingjing import provision
from mingjing.central_client import CentralClient
from mingjing.site import RunningSite, Say

_POLL_S = 0.25
_DEVICES_S = 60.0
_LINK_S = 60.0
PRE_ROLL_S = 10.0
STEPS = 2

_TEXT_SAMPLE = "示范填写"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCase:
    """What was done, and when. Durations in seconds."""

    case: Case
    step: Step
    step_to_link_s: float
    """From the step's end as central knows it to the first link stated after it."""
    step_to_final_link_s: float
    """The same to the link over the whole post-roll."""


async def wait_for_devices(client: CentralClient, say: Say) -> None:
    """Wait until every device is online, then for as long as the pre-roll of the first step.

    Raises:
        Unavailable: a device is not online in time; with its own words.
    """
    say("等设备上线 / waiting for the devices")

    async def all_online() -> bool:
        return all(d.health == "online" for d in await client.devices())

    try:
        await _until(all_online, _DEVICES_S)
    except TimeoutError as exc:
        missing = [d for d in await client.devices() if d.health != "online"]
        words = "; ".join(f"{d.name} ({d.id}): {d.cause} {d.detail}" for d in missing)
        raise Unavailable(f"设备没有上线 / not online: {words}") from exc
    await asyncio.sleep(PRE_ROLL_S)


async def run_sample_case(
    site: RunningSite, client: CentralClient, say: Say, *, step_seconds: float
) -> SampleCase:
    """Open a case, run its first steps, wait until the first step's footage is bound.

    Raises:
        Unavailable: no link came in time.
    """
    item = (await client.items())[0]
    case = await client.open_case(
        NewCase(item=item.code, applicant="示范餐饮店", place=provision.PLACE)
    )
    say(f"办件 / case {case.no}: {case.item_name}")
    first, *others = [step.seq for step in case.steps[:STEPS]]
    case = await _run_step(site, client, case, first, say, seconds=step_seconds)
    say("等环节录像绑定 / waiting for the step's footage to be bound")
    _, linked_s = await _wait_for_link(client, case, first, final=False)
    for seq in others:
        case = await _run_step(site, client, case, seq, say, seconds=step_seconds)
    say("等后余量录完 / waiting for the post-roll")
    case, final_s = await _wait_for_link(client, case, first, final=True)
    return SampleCase(
        case=case,
        step=_step(case, first),
        step_to_link_s=linked_s,
        step_to_final_link_s=final_s,
    )


async def _run_step(
    site: RunningSite,
    client: CentralClient,
    case: Case,
    seq: int,
    say: Say,
    *,
    seconds: float,
) -> Case:
    path = f"/api/cases/{case.no}"
    case = await client.call("POST", f"{path}/steps/{seq}/start", Case, place=provision.PLACE)
    step = _step(case, seq)
    say(f"环节 / step {seq} {step.name}")
    site.punch(provision.CLERK_TERMINAL_USER)
    await asyncio.sleep(seconds)
    for material in case.materials:
        if material.required and material.state != "checked":
            case = await client.call(
                "PUT",
                f"{path}/materials/{material.code}",
                Case,
                state="checked",
                note="",
                revision=case.revision,
            )
    return await client.call(
        "POST",
        f"{path}/steps/{seq}/finish",
        Case,
        values=filled_form(step.form, client.me.person or ""),
        revision=case.revision,
    )


def filled_form(fields: list[FormField], person: str) -> dict[str, str]:
    """A value for each required field, of the kind that the flow pack asks for."""
    today = to_datetime(SystemClock().now()).astimezone(CHINA).date().isoformat()
    values: dict[str, str] = {}
    for field in fields:
        if not field.required:
            continue
        match field.kind:
            case "choice":
                values[field.code] = field.choices[0]
            case "date":
                values[field.code] = today
            case "person":
                values[field.code] = person
            case "text" | "long_text":
                values[field.code] = _TEXT_SAMPLE
    return values


async def _wait_for_link(
    client: CentralClient, case: Case, seq: int, *, final: bool
) -> tuple[Case, float]:
    """Wait for a link newer than the one in `case`; the case then, and seconds since the end.

    A running step may be linked too; only a newer revision knows that it ended.
    """
    known = _step(case, seq).link
    revision = known.revision if known else 0

    async def is_bound() -> tuple[Case, float] | None:
        now_case = await client.case(case.no)
        step = _step(now_case, seq)
        since_s = (SystemClock().now() - (step.ended_ms or 0) * NS_PER_MS) / NS
        if step.link is None:
            return None
        bound = step.link.final if final else step.link.revision > revision
        return (now_case, since_s) if bound else None

    try:
        return await _until(is_bound, _LINK_S)
    except TimeoutError as exc:
        raise Unavailable(
            f"环节录像在 {_LINK_S:g} 秒内没有绑定, 请看 log/gateway.log / "
            f"the step's footage was not bound within {_LINK_S:g} s; see log/gateway.log"
        ) from exc


async def _until(condition: Callable[[], Awaitable[T | None]], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        while not (answer := await condition()):  # noqa: ASYNC110 - asked over HTTP, no event
            await asyncio.sleep(_POLL_S)
    return answer


def _step(case: Case, seq: int) -> Step:
    return next(step for step in case.steps if step.seq == seq)
