"""A disk that is full or broken: an alarm, a gap with its cause, and recording comes back."""

import asyncio

import pytest

from contracts.timestamps import NS, WallTime
from gateway.adapters.footage.reader import FootageVolume
from tests.fakes.footage import BreakableDisk
from tests.h264_units import FRAME_NS, START, clip
from tests.integration.gateway.recording import STREAM, Feed, findings, media_files, volume
from tests.integration.gateway.test_recording_crash import recording
from tests.waiting import until

pytestmark = pytest.mark.integration

END = WallTime(START + 3600 * NS)


class Alarm:
    def __init__(self):
        self.said = []

    def __call__(self, cause, detail):
        self.said.append(cause)


def _timeline(folder):
    return FootageVolume(folder).timeline(STREAM, WallTime(START), END)


@pytest.mark.parametrize(("fault", "cause"), [("full", "disk_full"), ("broken", "disk_error")])
async def test_a_disk_that_fails_for_a_while_is_a_gap_and_an_alarm(tmp_path, fault, cause):
    disk, alarm = BreakableDisk(), Alarm()
    units = [clip().unit(n) for n in range(500)]
    async with volume(tmp_path, disk=disk, on_fault=alarm) as store:
        feed = Feed(store)
        feed.session("s1")
        await feed.push(units[:120])
        await store.flush()
        setattr(disk, fault, True)
        await feed.push(units[120:260])
        await store.flush()
        setattr(disk, fault, False)
        await feed.push(units[260:])
        feed.stop()
        await store.flush()
        await until(lambda: alarm.said == [cause, None])
    answer = _timeline(tmp_path)
    first, second = answer.recorded
    gap = answer.gaps[0]
    assert (gap.cause, gap.from_ns, gap.to_ns) == (cause, first.to_ns, second.from_ns)
    assert second.from_ns == START + 250 * FRAME_NS, "the open part, from its key frame"
    assert second.to_ns == START + 500 * FRAME_NS
    assert gap.from_ns <= START + 120 * FRAME_NS
    assert findings(tmp_path) == []
    assert len(media_files(tmp_path)) == 2


async def test_a_disk_that_is_full_from_the_start_takes_footage_when_there_is_room(tmp_path):
    disk, alarm = BreakableDisk(), Alarm()
    disk.full = True
    async with volume(tmp_path, disk=disk, on_fault=alarm) as store:
        feed = Feed(store)
        feed.expect(START)
        await feed.push(clip().unit(n) for n in range(110))
        await store.flush()
        disk.full = False
        await feed.push(clip().unit(n) for n in range(110, 260))
        feed.stop()
    answer = _timeline(tmp_path)
    assert [gap.cause for gap in answer.gaps] == ["disk_full", "gateway_stopped"]
    assert answer.gaps[0].from_ns == START
    assert answer.recorded[0].from_ns == answer.gaps[0].to_ns == START + 100 * FRAME_NS
    assert findings(tmp_path) == []
    assert alarm.said[0] == "disk_full"


async def test_other_streams_go_on_when_one_file_cannot_be_synced(tmp_path):
    disk = BreakableDisk()
    other = "cam-08-front.main"
    async with volume(tmp_path, disk=disk) as store:
        sick, well = Feed(store), Feed(store, stream=other)
        await sick.push(clip().unit(n) for n in range(60))
        disk.broken = True
        await store.flush()
        disk.broken = False
        await well.push(clip().unit(n) for n in range(60))
        well.stop()
        sick.stop()
    (span,) = FootageVolume(tmp_path).timeline(other, WallTime(START), END).recorded
    assert span.to_ns - span.from_ns == 60 * FRAME_NS
    assert _timeline(tmp_path).gaps[0].cause == "disk_error"
    assert findings(tmp_path) == []


async def test_a_real_limit_of_file_size_is_a_full_disk(tmp_path):
    """The kernel refuses octets in the middle of an append (EFBIG by RLIMIT_FSIZE)."""
    async with recording(tmp_path, "3000000") as run:
        await until(lambda: "disk_full" in run.faults, 60)
        files = await until(lambda: len(media_files(tmp_path)) > 1 and media_files(tmp_path), 60)
    assert files[0].stat().st_size <= 3_000_000
    async with volume(tmp_path):
        await asyncio.sleep(0)
    assert findings(tmp_path) == []
    answer = FootageVolume(tmp_path).timeline(STREAM, WallTime(0), WallTime(1 << 62))
    assert "disk_full" in {gap.cause for gap in answer.gaps}
