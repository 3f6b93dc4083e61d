"""What end-to-end tests do with a running site: as its users, and as those who know its insides."""

import asyncio
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from central.api.schemas import Case, NewCase, Step, StepLink
from contracts.clock import SystemClock
from contracts.ids import stream_id
from contracts.signing import PemSigner
from contracts.timestamps import NS, NS_PER_MS
from contracts.tokens import Grant, issue
from contracts.wire.footage import Gap, Timeline
from mingjing import provision
from mingjing.central_client import CentralClient
from mingjing.sample_case import filled_form
from mingjing.site import RunningSite
from tests.waiting import until

STREAM = stream_id(provision.CAMERA, "main")


def now_ms() -> int:
    return SystemClock().now() // NS_PER_MS


@dataclass(frozen=True)
class SiteUnderTest:
    """A running site, its users' sessions, and the file of what the camera says it sent."""

    site: RunningSite
    clerk: CentralClient
    inspector: CentralClient
    sent_units: Path

    @property
    def footage(self) -> Path:
        return self.site.layout.data / "footage"

    @property
    def database(self) -> str:
        return str(tomllib.loads(self.site.layout.central.read_text())["database"])

    def gateway_child(self, role: str) -> psutil.Process:
        """The gateway's media or detector process."""
        gateway = self.site.children["gateway"].pid
        assert gateway is not None
        children = psutil.Process(gateway).children(recursive=True)
        (found,) = [child for child in children if role in child.cmdline()]
        return found

    async def devices_are_online(self) -> None:
        async def all_online() -> bool:
            return all(d.health == "online" for d in await self.inspector.devices())

        await until(all_online, 90)

    async def timeline(self, from_ms: int, to_ms: int) -> Timeline:
        """Ask the gateway itself, with a grant signed as central does."""
        layout = self.site.layout
        from_ns, to_ns = from_ms * NS_PER_MS, to_ms * NS_PER_MS
        grant = Grant(
            use="replay",
            site=provision.SITE,
            user="test",
            streams=(STREAM,),
            not_before_ns=from_ns,
            not_after_ns=to_ns,
            expires_s=SystemClock().now() // NS + 60,
        )
        key = await asyncio.to_thread(Path(layout.central_identity.key).read_bytes)
        context = ssl.create_default_context(cafile=layout.ca)
        async with httpx.AsyncClient(verify=context, trust_env=False) as http:
            answer = await http.get(
                f"https://127.0.0.1:{layout.ports.gateway}/v1/timeline/{STREAM}",
                params={"from_ns": from_ns, "to_ns": to_ns},
                headers={"Authorization": f"Bearer {issue(grant, PemSigner(key))}"},
            )
        answer.raise_for_status()
        return Timeline.model_validate_json(answer.content)

    async def closed_gaps_since(self, since_ms: int) -> list[Gap]:
        """Gaps that began at or after an instant and are over; waits for the first."""

        async def closed() -> list[Gap]:
            try:
                line = await self.timeline(since_ms, since_ms + 120_000)
            except httpx.HTTPError:
                return []
            is_back = line.recorded and line.recorded[-1].from_ns > since_ms * NS_PER_MS
            gaps = [gap for gap in line.gaps if gap.from_ns > since_ms * NS_PER_MS]
            whole = gaps and all(gap.to_ns is not None for gap in gaps)
            return gaps if whole and is_back else []

        return await until(closed, 90)

    async def open_case(self) -> Case:
        item = (await self.clerk.items())[0]
        return await self.clerk.open_case(
            NewCase(item=item.code, applicant="测试餐饮店", place=provision.PLACE)
        )

    async def start_step(self, case: Case, seq: int) -> Case:
        path = f"/api/cases/{case.no}/steps/{seq}/start"
        return await self.clerk.call("POST", path, Case, place=provision.PLACE)

    async def finish_step(self, case: Case, seq: int) -> Case:
        path = f"/api/cases/{case.no}"
        for material in case.materials:
            if material.required and material.state != "checked":
                case = await self.clerk.call(
                    "PUT",
                    f"{path}/materials/{material.code}",
                    Case,
                    state="checked",
                    note="",
                    revision=case.revision,
                )
        form = filled_form(step_of(case, seq).form, self.clerk.me.person or "")
        finish = f"{path}/steps/{seq}/finish"
        return await self.clerk.call("POST", finish, Case, values=form, revision=case.revision)

    async def final_link(self, case_no: str, seq: int) -> StepLink:
        """The footage bound to a step once it has ended and its post-roll has passed."""

        async def final() -> StepLink | None:
            link = step_of(await self.clerk.case(case_no), seq).link
            return link if link and link.final else None

        return await until(final, 90)


def step_of(case: Case, seq: int) -> Step:
    return next(step for step in case.steps if step.seq == seq)
