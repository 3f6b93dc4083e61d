"""Encoded frames go to disk unchanged, and any tool plays them."""

import asyncio
import json
import subprocess
from itertools import pairwise
from pathlib import Path

import av
import pytest

from contracts.errors import Unavailable
from contracts.media.access_unit import CodecConfig
from contracts.timestamps import NS, WallTime
from contracts.wire.footage import Gap, Span
from gateway.adapters.footage.reader import FootageVolume
from gateway.adapters.footage.schema import open_for_writing
from gateway.core.parts import Interrupted
from gateway.core.segmenter import SegmenterOptions
from tests import synthetic_units
from tests.h264_units import FRAME_NS, START, clip
from tests.integration.gateway.recording import STREAM, Feed, findings, media_files, volume

pytestmark = pytest.mark.integration

SHORT_FILES = SegmenterOptions(file_ns=4 * NS)
END = WallTime(START + 3600 * NS)


def _probe(path: Path) -> dict:
    command = ["ffprobe", "-v", "warning", "-count_frames", "-show_streams", "-of", "json", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    (stream,) = json.loads(done.stdout)["streams"]
    return stream


def _samples(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


async def test_files_are_read_without_warnings_and_hold_each_frame_bit_for_bit(tmp_path):
    frames = clip()
    units = [frames.unit(n) for n in range(275)]
    async with volume(tmp_path) as store:
        feed = Feed(store, options=SHORT_FILES)
        feed.session("s1")
        await feed.push(units)
        feed.stop()
    files = media_files(tmp_path)
    probes = [_probe(path) for path in files]
    assert [int(probe["nb_read_frames"]) for probe in probes] == [100, 100, 75]
    assert {(probe["codec_name"], probe["width"], probe["height"]) for probe in probes} == {
        ("h264", 320, 180)
    }
    assert [s for path in files for s in _samples(path)] == [unit.payload for unit in units]
    assert findings(tmp_path) == []


@pytest.mark.parametrize(
    ("codec", "name", "octets"),
    [("pcma", "pcm_alaw", 160), ("pcmu", "pcm_mulaw", 160)],
)
async def test_audio_is_a_file_of_its_own_that_any_tool_reads(tmp_path, codec, name, octets):
    config = CodecConfig(codec=codec, rate=8000, channels=1)
    packets = [synthetic_units.audio(n) for n in range(120)]
    units = [
        type(u)(**{f: getattr(u, f) for f in u.__slots__} | {"config": config}) for u in packets
    ]
    async with volume(tmp_path) as store:
        feed = Feed(store)
        await feed.push(units)
        feed.stop("audio")
    (path,) = media_files(tmp_path)
    assert path.parent.name == "audio"
    assert _probe(path)["codec_name"] == name
    assert b"".join(_samples(path)) == bytes(octets * 120)
    assert findings(tmp_path) == []


async def test_the_timeline_accounts_for_the_whole_window(tmp_path):
    frames = clip()
    async with volume(tmp_path) as store:
        feed = Feed(store, options=SHORT_FILES)
        feed.expect(START - 3 * NS)
        feed.session("s1")
        await feed.push(frames.unit(n) for n in range(150))
        down = Interrupted(at=WallTime(START + 9 * NS), cause="agent_disconnected", detail="x")
        feed.interrupt(down)
        feed.session("s2")
        await feed.push(frames.unit(n) for n in range(500, 600))
        feed.stop()
    answer = FootageVolume(tmp_path).timeline(STREAM, WallTime(START - 2 * NS), END)
    at = [START + n * FRAME_NS for n in (0, 150, 500, 600)]
    assert answer.recorded == (Span(from_ns=at[0], to_ns=at[1]), Span(from_ns=at[2], to_ns=at[3]))
    assert answer.gaps == (
        Gap(from_ns=START - 2 * NS, to_ns=at[0], cause="not_started"),
        Gap(from_ns=at[1], to_ns=at[2], cause="agent_disconnected", detail="x"),
        Gap(from_ns=at[3], to_ns=None, cause="gateway_stopped"),
    )
    assert (answer.codec, answer.width, answer.height) == ("avc1.42c00c", 320, 180)
    assert answer.clock_offset_ms == 5
    assert findings(tmp_path) == []


async def test_what_is_asked_for_is_cut_to_the_question(tmp_path):
    async with volume(tmp_path) as store:
        feed = Feed(store)
        await feed.push(clip().unit(n) for n in range(300))
        feed.stop()
    low, high = WallTime(START + 3 * NS + 7), WallTime(START + 5 * NS + 9)
    answer = FootageVolume(tmp_path).timeline(STREAM, low, high)
    assert answer.recorded == (Span(from_ns=low, to_ns=high),)
    assert answer.gaps == ()
    parts = FootageVolume(tmp_path).parts(STREAM, low, high)
    assert parts[0].is_key
    assert parts[0].start_ns == START + 2 * NS
    assert parts[-1].end_ns >= high
    assert all(a.end_ns == b.start_ns for a, b in pairwise(parts))


def test_a_volume_without_footage_answers_with_nothing(tmp_path):
    reader = FootageVolume(tmp_path)
    assert reader.streams() == []
    assert reader.timeline(STREAM, WallTime(START), END).recorded == ()
    assert reader.parts(STREAM, WallTime(START), END) == []
    assert reader.file(STREAM, 1) is None
    assert list(tmp_path.iterdir()) == []


async def test_readers_see_only_what_is_synced_and_committed(tmp_path):
    async with volume(tmp_path) as store:
        feed = Feed(store)
        await feed.push(clip().unit(n) for n in range(100))
        await store.flush()
        before = FootageVolume(tmp_path).parts(STREAM, WallTime(START), END)
        (path,) = media_files(tmp_path)
        assert before[-1].offset + before[-1].length == path.stat().st_size
        assert before[-1].end_ns == START + 84 * FRAME_NS, "the frames of whole parts"
        feed.stop()
    after = FootageVolume(tmp_path).parts(STREAM, WallTime(START), END)
    assert after[: len(before)] == before
    assert after[-1].end_ns == START + 100 * FRAME_NS


async def test_recording_goes_on_in_the_chain_after_a_stop(tmp_path):
    for day in range(3):
        async with volume(tmp_path) as store:
            feed = Feed(store)
            feed.session(f"s{day}")
            start = START + day * 3600 * NS
            await feed.push(clip().unit(n, start=start) for n in range(75))
            feed.stop()
    assert findings(tmp_path) == []
    answer = FootageVolume(tmp_path).timeline(STREAM, WallTime(0), WallTime(START * 2))
    assert len(answer.recorded) == 3
    assert [gap.cause for gap in answer.gaps] == ["gateway_stopped"] * 3


async def test_two_recorders_cannot_use_one_volume(tmp_path):
    async with volume(tmp_path):
        with pytest.raises(Unavailable, match="另一个录像进程"):
            async with volume(tmp_path):
                raise AssertionError("must not open")


async def test_forty_streams_are_written_by_one_thread_without_mixing(tmp_path):
    frames = clip()
    async with volume(tmp_path) as store:
        feeds = [Feed(store, stream=f"cam-{n:02}.main") for n in range(40)]
        async with asyncio.TaskGroup() as tasks:
            for feed in feeds:
                tasks.create_task(feed.push(frames.unit(n) for n in range(60)))
        for feed in feeds:
            feed.stop()
    reader = FootageVolume(tmp_path)
    assert len(reader.streams()) == 40
    for stream in reader.streams():
        (span,) = reader.timeline(stream, WallTime(START), END).recorded
        assert span.to_ns - span.from_ns == 60 * FRAME_NS
    assert findings(tmp_path) == []


async def test_an_index_of_the_first_version_is_upgraded(tmp_path):
    for day in range(2):
        async with volume(tmp_path) as store:
            feed = Feed(store)
            start = START + day * 3600 * NS
            await feed.push(clip().unit(n, start=start) for n in range(75))
            feed.stop()
    before = FootageVolume(tmp_path).timeline(STREAM, WallTime(0), WallTime(START * 2))
    index = open_for_writing(tmp_path)
    index.executescript("DROP TABLE spans; UPDATE meta SET schema_version = 1;")
    index.close()
    async with volume(tmp_path):
        after = FootageVolume(tmp_path).timeline(STREAM, WallTime(0), WallTime(START * 2))
    assert after == before
    assert findings(tmp_path) == []


async def test_an_index_of_a_later_version_is_refused(tmp_path):
    index = open_for_writing(tmp_path)
    index.execute("UPDATE meta SET schema_version = 99")
    index.close()
    with pytest.raises(Unavailable, match="99"):
        async with volume(tmp_path):
            raise AssertionError("must not open")
