"""The recorder turns what its cursor says into parts and gap causes, and never runs ahead."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from contracts.clock import ManualClock
from contracts.errors import InvalidInput
from contracts.timestamps import NS, WallTime
from gateway.core.parts import Expected, FileBegins, Interrupted, Part
from gateway.core.segmenter import SegmenterOptions
from gateway.core.stream_events import SourceDown, SourceUp, UnitsDropped
from gateway.services.recorder import Recorder, RecorderOptions
from tests.fakes.footage import QueueCursor, RememberingStore
from tests.synthetic_units import START, audio, video
from tests.waiting import until

OPTIONS = RecorderOptions(segmenter=SegmenterOptions(settle_ns=0), backlog_bytes=500)
UP = SourceUp(at=WallTime(START), session="s1")


@asynccontextmanager
async def _recording(clock, options=OPTIONS):
    cursor, store = QueueCursor(), RememberingStore()
    recorder = Recorder("cam-07-front.main", cursor, store, clock, options)
    task = asyncio.get_running_loop().create_task(recorder.run())
    try:
        yield recorder, cursor, store
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def _gaps(store, track="video"):
    return [item for item in store.of(track) if isinstance(item, Interrupted)]


def _frames(store, track="video"):
    return sum(len(item.payloads) for item in store.of(track) if isinstance(item, Part))


async def _advance(clock, seconds):
    for _ in range(round(seconds * 10)):
        clock.advance(0.1)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_stream_is_expected_before_anything_comes(clock):
    async with _recording(clock) as (_, _, store):
        await until(lambda: store.items)
        assert store.items[0] == ("video", Expected(at=clock.now()))


async def test_units_become_parts_and_a_stop_gives_out_the_rest(clock):
    async with _recording(clock) as (recorder, cursor, store):
        cursor.put(UP, *(video(n) for n in range(60)))
        await until(lambda: recorder.units == 60)
        assert _frames(store) == 50
    assert _frames(store) == 60
    assert _gaps(store)[-1].cause == "gateway_stopped"
    assert cursor.closed


async def test_two_seconds_of_silence_are_no_media_and_lose_no_frame(clock):
    async with _recording(clock) as (recorder, cursor, store):
        cursor.put(UP, *(video(n) for n in range(60)))
        await until(lambda: recorder.units == 60)
        await _advance(clock, 1.9)
        assert _gaps(store) == []
        await _advance(clock, 0.4)
        assert [gap.cause for gap in _gaps(store)] == ["no_media"]
        assert _frames(store) == 60
        await _advance(clock, 10)
        assert len(_gaps(store)) == 1


async def test_a_stepped_wall_clock_is_no_silence(clock):
    async with _recording(clock) as (recorder, cursor, store):
        cursor.put(UP, video(0))
        await until(lambda: recorder.units == 1)
        clock.step_wall(3600)
        await _advance(clock, 1)
        assert _gaps(store) == []


async def test_within_a_second_only_the_pending_frame_is_not_given_out(clock):
    async with _recording(clock) as (recorder, cursor, store):
        cursor.put(UP, *(video(n) for n in range(10)))
        await until(lambda: recorder.units == 10)
        await _advance(clock, 1.1)
        assert _frames(store) == 9


async def test_source_down_is_a_gap_with_its_cause(clock):
    async with _recording(clock) as (_recorder, cursor, store):
        down = SourceDown(at=WallTime(START), cause="camera_unreachable", detail="拒绝连接")
        cursor.put(UP, *(video(n) for n in range(10)), down)
        await until(lambda: _gaps(store))
        (gap,) = _gaps(store)
        assert (gap.cause, gap.detail) == ("camera_unreachable", "拒绝连接")
        assert _frames(store) == 10


async def test_dropped_units_are_a_gap_that_says_how_many(clock):
    async with _recording(clock) as (_, cursor, store):
        dropped = UnitsDropped(count=33, first=WallTime(START), last=WallTime(START + NS))
        cursor.put(UP, *(video(n) for n in range(10)), dropped, *(video(n) for n in range(43, 99)))
        await until(lambda: _gaps(store))
        (gap,) = _gaps(store)
        assert gap.cause == "recorder_behind"
        assert "33" in gap.detail


async def test_a_new_session_without_a_goodbye_is_a_new_run_after_a_gap(clock):
    async with _recording(clock) as (recorder, cursor, store):
        again = SourceUp(at=WallTime(START + 5 * NS), session="s2")
        cursor.put(UP, video(0), again, video(0, arrived=START + 5 * NS))
        await until(lambda: recorder.units == 2)
        begins = [item for item in store.of("video") if isinstance(item, FileBegins)]
        assert [item.session for item in begins] == ["s1", "s2"]
        assert [gap.cause for gap in _gaps(store)] == ["no_media"]


async def test_audio_has_parts_of_its_own_and_video_does_not_wait_for_it(clock):
    async with _recording(clock) as (recorder, cursor, store):
        units = sorted(
            [*(video(n) for n in range(60)), *(audio(n) for n in range(5))],
            key=lambda unit: unit.arrived_at,
        )
        cursor.put(UP, *units)
        await until(lambda: recorder.units == 65)
        assert _frames(store, "video") == 50
    assert _frames(store, "audio") == 5


async def test_a_slow_disk_stops_reading_at_the_byte_bound(clock):
    async with _recording(clock) as (recorder, cursor, store):
        store.held = True
        cursor.put(UP, *(video(n) for n in range(500)))
        await until(lambda: store.backlog_bytes("") > OPTIONS.backlog_bytes)
        for _ in range(100):
            await asyncio.sleep(0)
        assert recorder.units < 100
        store.release()
        await until(lambda: recorder.units == 500)


def test_a_name_that_is_no_stream_is_refused():
    with pytest.raises(InvalidInput, match="stream"):
        Recorder("../etc", QueueCursor(), RememberingStore(), ManualClock())
