"""What the camera sent is on disk bit for bit, and what is missing is said with its cause."""

import asyncio
import os
import signal

import pytest

from contracts.timestamps import NS_PER_MS
from tests.e2e.footage_files import ffprobe_complaints, sample_digests, video_files
from tests.e2e.site_under_test import now_ms

pytestmark = pytest.mark.e2e

MOST_LOST_MS = 1000
"""`kill -9` costs at most one part (DESIGN.md, section 7)."""
AWAY_S = 10


async def test_recorded_access_units_are_those_the_camera_sent(running, sample):
    """Sample by sample, each file is an unbroken run of what left the camera: no transcoding."""
    digests = [sample_digests(path) for path in video_files(running.footage)]
    sent = running.sent_units.read_text().split()
    position = {digest: at for at, digest in enumerate(sent)}
    assert digests
    for recorded in digests:
        first = position[recorded[0]]
        assert recorded == sent[first : first + len(recorded)]
    assert sum(map(len, digests)) > 100


async def test_the_link_states_honest_coverage(running, sample):
    link = sample.step.link
    assert link.final
    (stream,) = link.streams
    assert (stream.covered_permille == 1000) == (stream.missing_ms == 0)


@pytest.mark.parametrize(
    ("victim", "causes"),
    [
        ("media", {"gateway_crashed"}),
        # The media process sees its parent die and stops in order.
        ("app", {"gateway_crashed", "gateway_stopped"}),
    ],
)
async def test_kill_9_of_the_gateway_costs_at_most_one_part(running, sample, victim, causes):
    """In mid-recording: a gap row with its cause; all that was written stays readable."""
    await running.devices_are_online()
    pid = running.site.children["gateway"].pid
    if victim == "media":
        pid = running.gateway_child("media").pid
    killed_ms = now_ms()
    os.kill(pid, signal.SIGKILL)
    gaps = await running.closed_gaps_since(killed_ms - MOST_LOST_MS)
    assert gaps[0].cause in causes
    assert gaps[0].to_ns > killed_ms * NS_PER_MS
    await running.devices_are_online()
    line = await running.timeline(killed_ms - 5000, killed_ms + 60_000)
    before = [span for span in line.recorded if span.from_ns < killed_ms * NS_PER_MS]
    assert before[-1].to_ns >= (killed_ms - MOST_LOST_MS) * NS_PER_MS
    for path in await asyncio.to_thread(video_files, running.footage):
        assert "" == await asyncio.to_thread(ffprobe_complaints, path)


async def test_a_dead_camera_leaves_a_gap_with_its_cause_and_recording_resumes(running):
    """The camera's process is away for ten seconds in the middle of a step."""
    await running.devices_are_online()
    case = await running.start_step(await running.open_case(), 1)
    # Footage from before the hole makes the coverage of the step a true fraction.
    await asyncio.sleep(3)
    killed_ms = now_ms()
    async with running.site.without("camera"):
        await asyncio.sleep(AWAY_S)
    gaps = await running.closed_gaps_since(killed_ms - MOST_LOST_MS)
    missing_ms = sum(gap.to_ns - gap.from_ns for gap in gaps) // NS_PER_MS
    assert missing_ms >= AWAY_S * 1000 - MOST_LOST_MS
    assert {gap.cause for gap in gaps} <= {"camera_unreachable", "no_media"}
    assert "camera_unreachable" in {gap.cause for gap in gaps}
    await running.devices_are_online()
    case = await running.finish_step(case, 1)
    link = await running.final_link(case.no, 1)
    (part,) = link.streams
    assert part.covered_permille < 1000
    assert part.missing_ms >= AWAY_S * 1000 - MOST_LOST_MS
    assert "camera_unreachable" in {gap.cause for gap in part.gaps}
