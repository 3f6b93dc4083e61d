"""One counter's camera through the whole gateway: recorded, looked at, bound to a step."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from contracts.clock import SystemClock
from contracts.media.access_unit import CodecConfig
from contracts.media.h264 import (
    config_from_parameter_sets,
    from_annex_b,
    is_key,
    nal_type,
    split_nals,
)
from contracts.timestamps import NS
from contracts.tokens import Grant
from contracts.wire.footage import FootageLinkFact, Timeline
from contracts.wire.orders import DeviceEntry, PlaceEntry, SiteOrder, StepOrder
from contracts.wire.presence import PresenceFact
from edge_agent.adapters.webrtc_sender import SenderOptions, WebrtcSender
from tests.integration.gateway.conftest import RealSite
from tests.integration.gateway.gateway_program import GatewayProgram, running
from tests.integration.gateway.media_site import FPS, Health, Source
from tests.integration.gateway.test_gateway_program import children
from tests.integration.gateway.test_punches import facts, order
from tests.integration.models.conftest import model_cache, portrait, wheels
from tests.waiting import until

pytestmark = pytest.mark.integration

__all__ = ["model_cache", "portrait", "wheels"]

CAMERA = "cam-07-front"
MAIN = "cam-07-front.main"
Picture = npt.NDArray[np.uint8]
SITE = SiteOrder(
    id="o-1",
    version=1,
    site="demo",
    name="示范区政务服务中心",
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


def coded(picture: Picture) -> tuple[tuple[CodecConfig, bytes, bool], ...]:
    """One second of a still picture."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = picture.shape[1], picture.shape[0]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, FPS)
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": f"keyint={FPS}:min-keyint={FPS}:scenecut=0:repeat-headers=1",
    }
    units, config = [], None
    for number in range(FPS):
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = number
        for packet in encoder.encode(frame):
            payload = from_annex_b(bytes(packet))
            if is_key(payload):
                sets = [n for n in split_nals(payload) if nal_type(n) in (7, 8)]
                config = config_from_parameter_sets(sets)
            assert config is not None
            units.append((config, payload, is_key(payload)))
    return tuple(units)


@asynccontextmanager
async def filming(program: GatewayProgram, picture: Picture) -> AsyncIterator[Source]:
    """The camera's agent publishes this picture until the end."""
    site = program.site
    sender = WebrtcSender(
        SenderOptions(
            url=f"https://127.0.0.1:{program.port}",
            tls=site.tls(site.device(CAMERA)),
            site="demo",
            device=CAMERA,
            stream=MAIN,
            certificate=site.device(CAMERA).certificate.read_text(),
            ice_addresses=("127.0.0.1",),
        ),
        signer=site.signer(CAMERA),
        health=Health(),
        clock=SystemClock(),
        random=random.random,
    )
    source = Source(sender)
    source._pictures = coded(picture)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sender.run()), group.create_task(source.run())]
        yield source
        for task in tasks:
            task.cancel()


async def timeline(program: GatewayProgram, start: int, end: int) -> Timeline:
    grant = Grant(
        use="replay",
        site="demo",
        user="zhou-zheng",
        streams=(MAIN,),
        not_before_ns=start,
        not_after_ns=end,
        expires_s=SystemClock().now() // NS + 60,
    )
    async with program.client(grant=grant) as client:
        answer = await client.get(f"/v1/timeline/{MAIN}", params={"from_ns": start, "to_ns": end})
        return Timeline.model_validate(answer.raise_for_status().json())


async def stream_status(program: GatewayProgram) -> dict[str, Any]:
    streams = (await program.status())["streams"] or {"streams": []}
    found: list[dict[str, Any]] = [s for s in streams["streams"] if s["stream"] == MAIN]
    return found[0] if found else {"source": "", "recorder": ""}


async def links(site: RealSite) -> list[FootageLinkFact]:
    return [FootageLinkFact.model_validate_json(f) for f in await facts(site, "footage_link")]


async def test_a_step_gets_its_footage_and_its_presence(
    real_site: RealSite, model_cache: Path, portrait: Picture
):
    """Somebody is seen at the post; the step is bound within two seconds, and finally wholly.

    In between the detector is killed: no recorded frame is missing.
    """
    clock = SystemClock()
    program = GatewayProgram(real_site, cache=model_cache)
    async with running(program):
        await until(lambda: program.events("broker_connected"), 20)
        await order(real_site, "site", SITE.model_dump_json().encode(), "o-1")

        async def delivers() -> bool:
            found = await stream_status(program)
            return found["source"] == "delivering" and found["recorder"] == "recording"

        async with filming(program, portrait):
            await until(delivers, 30)
            began = clock.now()

            async def present() -> list[PresenceFact]:
                found = [
                    PresenceFact.model_validate_json(f) for f in await facts(real_site, "presence")
                ]
                return [f for f in found if f.state == "present"]

            seen = (await until(present, 40))[0]
            assert (seen.place, seen.device, seen.most_people) == ("counter-07", CAMERA, 1)

            step = StepOrder(
                id="e-1",
                step="step-1",
                case="case-1",
                place="counter-07",
                person="liu-yang",
                started_ns=clock.now(),
                ended_ns=None,
                pre_roll_ms=1000,
                post_roll_ms=1000,
            )
            await order(real_site, "step", step.model_dump_json().encode(), "e-1")
            first = (await until(lambda: links(real_site), 20))[0]
            assert (first.step, first.revision, first.final) == ("step-1", 1, False)
            assert first.to_ns - first.from_ns <= 2 * NS

            os.kill(children(program.pid)["detector"], signal.SIGKILL)

            async def detector_again() -> bool:
                report = (await program.status())["detector"]
                return report["starts"] == 2 and report["health"] == "online"

            await until(detector_again, 40)
            ended = step.model_copy(update={"id": "e-2", "ended_ns": clock.now()})
            await order(real_site, "step", ended.model_dump_json().encode(), "e-2")

            async def final() -> list[FootageLinkFact]:
                return [link for link in await links(real_site) if link.final]

            link = (await until(final, 40))[0]
            assert (link.from_ns, link.to_ns) == (ended.started_ns, ended.ended_ns)
            assert (link.covered_permille, link.streams[0].covered_permille) == (1000, 1000)
            assert link.streams[0].gaps == ()

            whole = await timeline(program, began, link.to_ns)
            assert whole.gaps == ()
            assert len(whole.recorded) == 1
            assert whole.codec is not None


async def test_an_absent_camera_is_a_gap_in_the_link(real_site: RealSite, portrait: Picture):
    """The camera's agent goes away for a while: the step's link says from when to when."""
    clock = SystemClock()
    program = GatewayProgram(real_site)
    async with running(program):
        await until(lambda: program.events("broker_connected"), 20)
        await order(real_site, "site", SITE.model_dump_json().encode(), "o-1")

        async def source(state: str) -> bool:
            return bool((await stream_status(program))["source"] == state)

        async def delivers() -> bool:
            return await source("delivering")

        async def is_down() -> bool:
            return await source("down")

        async with filming(program, portrait):
            await until(delivers, 30)
            step = StepOrder(
                id="e-1",
                step="step-1",
                case="case-1",
                place="counter-07",
                person="liu-yang",
                started_ns=clock.now(),
                ended_ns=None,
                pre_roll_ms=0,
                post_roll_ms=1000,
            )
            await order(real_site, "step", step.model_dump_json().encode(), "e-1")
            await until(lambda: links(real_site), 20)
        await until(is_down, 30)

        async def gap_told() -> bool:
            return any(link.streams[0].gaps for link in await links(real_site))

        await until(gap_told, 30)
        async with filming(program, portrait):
            await until(delivers, 30)
            back = clock.now() + NS

            async def recorded_again() -> bool:
                found = await timeline(program, step.started_ns, back + NS)
                return bool(found.recorded) and found.recorded[-1].to_ns > back

            await until(recorded_again, 30)
            ended = step.model_copy(update={"id": "e-2", "ended_ns": back})
            await order(real_site, "step", ended.model_dump_json().encode(), "e-2")

            async def final() -> list[FootageLinkFact]:
                return [link for link in await links(real_site) if link.final]

            link = (await until(final, 90))[-1]
        (coverage,) = link.streams
        (gap,) = coverage.gaps
        assert gap.cause == "agent_disconnected"
        assert gap.to_ns is not None
        assert step.started_ns <= gap.from_ns < gap.to_ns <= back
        missing = (gap.to_ns - gap.from_ns) * 1000 // (link.to_ns - link.from_ns)
        assert abs(1000 - missing - link.covered_permille) <= 1
