"""Where parts and files begin and end, and what wall time their samples get."""

from dataclasses import replace
from itertools import pairwise

import pytest

from contracts.media.access_unit import CodecConfig
from contracts.timestamps import NS
from gateway.core.fmp4 import whole_fragments
from gateway.core.parts import FileBegins, FileEnds, Interrupted, Part
from gateway.core.segmenter import Segmenter, SegmenterOptions
from tests.synthetic_units import (
    FRAME_NS,
    OTHER_VIDEO,
    START,
    TICKS,
    audio,
    video,
)

SECOND = 25


def _run(units, options=None):
    segmenter = Segmenter(options)
    items = segmenter.begin_session("s1")
    for unit in units:
        items += segmenter.push(unit)
    return items + segmenter.finish("stopped")


def _parts(items):
    return [item for item in items if isinstance(item, Part)]


def _key_frames(parts):
    first = parts[0].media_start
    return [(part.media_start - first) // TICKS for part in parts if part.is_key]


def _frames(items):
    return [payload for part in _parts(items) for payload in part.payloads]


def test_samples_are_the_payloads_and_durations_the_distances():
    units = [video(n) for n in range(60)]
    items = _run(units)
    assert _frames(items) == [unit.payload for unit in units]
    assert {s.duration for part in _parts(items) for s in part.samples} == {TICKS}
    assert all(
        [s.size for s in part.samples] == [len(p) for p in part.payloads] for part in _parts(items)
    )


def test_parts_are_shorter_than_a_second_and_end_at_key_frames():
    parts = _parts(_run([video(n) for n in range(200)]))
    assert max(part.media_ticks for part in parts) == 17 * TICKS
    assert _key_frames(parts) == [0, 50, 100, 150]
    assert all(not any(s.key for s in part.samples[1:]) for part in parts)


def test_a_part_on_disk_says_what_its_row_says():
    part = _parts(_run([video(n) for n in range(60)]))[1]
    (fragment,) = whole_fragments(part.octets())
    assert fragment.wall_ns == part.start_ns
    assert fragment.decode_time == part.media_start
    assert fragment.samples == part.samples
    assert fragment.length == part.size


def test_200_rotations_leave_no_hole_and_lose_no_frame():
    options = SegmenterOptions(file_ns=2 * NS)
    units = [video(n) for n in range(50 * 201)]
    items = _run(units, options)
    parts = _parts(items)
    assert sum(isinstance(item, FileEnds) and item.reason == "rotated" for item in items) == 200
    assert all(a.end_ns == b.start_ns for a, b in pairwise(parts))
    assert all(a.media_start + a.media_ticks == b.media_start for a, b in pairwise(parts))
    assert _frames(items) == [unit.payload for unit in units]
    assert parts[-1].end_ns - parts[0].start_ns == len(units) * FRAME_NS


def test_media_time_begins_with_the_time_of_day_in_china():
    """14:13:20 UTC is 22:13:20 there; a player that opens the file shows it."""
    part = _parts(_run([video(n) for n in range(10)]))[0]
    assert part.media_start == (22 * 3600 + 13 * 60 + 20) * 90_000


def test_a_file_begins_with_a_key_frame_only():
    items = _run([video(n) for n in range(17, 120)])
    assert _frames(items)[0] == video(50).payload
    first_after_file = [b for a, b in pairwise(items) if isinstance(a, FileBegins)]
    assert all(isinstance(part, Part) and part.is_key for part in first_after_file)


def test_a_changed_configuration_begins_a_file_in_the_same_run():
    units = [video(n, config=VIDEO_BEFORE if n < 100 else OTHER_VIDEO) for n in range(150)]
    items = _run(units)
    begins = [item for item in items if isinstance(item, FileBegins)]
    assert [(b.config.width, b.is_new_run) for b in begins] == [(320, True), (640, False)]
    assert all(a.end_ns == b.start_ns for a, b in pairwise(_parts(items)))


VIDEO_BEFORE = video(0).config


def test_an_equal_configuration_in_a_new_object_changes_nothing():
    items = _run([video(n, config=replace(VIDEO_BEFORE)) for n in range(150)])
    assert sum(isinstance(item, FileBegins) for item in items) == 1


def test_a_new_session_begins_a_new_run_and_loses_nothing_open():
    segmenter = Segmenter()
    items = segmenter.begin_session("s1")
    for n in range(60):
        items += segmenter.push(video(n))
    items += segmenter.begin_session("s2")
    for n in range(60):
        items += segmenter.push(video(n, arrived=START + 10 * NS + n * FRAME_NS))
    items += segmenter.finish("stopped")
    begins = [item for item in items if isinstance(item, FileBegins)]
    assert [(b.session, b.is_new_run) for b in begins] == [("s1", True), ("s2", True)]
    assert begins[1].start_ns == START + 10 * NS
    assert len(_frames(items)) == 120


def test_missing_frames_after_loss_are_a_hole_and_not_a_long_frame():
    units = [video(n, lost=7 if n == 70 else 0) for n in range(120) if not 60 <= n < 70]
    items = _run(units)
    (gap,) = [item for item in items if isinstance(item, Interrupted)]
    assert gap.cause == "packet_loss"
    holes = [(a.end_ns, b.start_ns) for a, b in pairwise(_parts(items)) if a.end_ns != b.start_ns]
    assert holes == [(START + 60 * FRAME_NS, START + 70 * FRAME_NS)]
    assert len(_frames(items)) == len(units)


@pytest.mark.parametrize(("missing", "standing"), [(10, 11 * TICKS), (20, TICKS)])
def test_a_short_hole_is_filled_in_the_file_and_still_a_gap_in_the_account(missing, standing):
    """Browsers drop what follows a jump of decoding times, up to the next key frame."""
    back = 60 + missing
    units = [video(n, lost=7 if n == back else 0) for n in range(120) if not 60 <= n < back]
    parts = _parts(_run(units))
    (before,) = [a for a, b in pairwise(parts) if a.end_ns != b.start_ns]
    assert before.samples[-1].duration == standing
    assert before.end_ns == START + 60 * FRAME_NS


def test_lost_packets_without_a_missing_frame_are_no_hole():
    items = _run([video(n, lost=1 if n == 70 else 0) for n in range(120)])
    assert not [item for item in items if isinstance(item, Interrupted)]


def test_a_slow_camera_is_not_a_lossy_one():
    """Without lost packets a distance is a duration: smart codecs leave frames out."""
    items = _run([video(n) for n in range(120) if not 60 <= n < 80])
    assert not [item for item in items if isinstance(item, Interrupted)]
    assert all(a.end_ns == b.start_ns for a, b in pairwise(_parts(items)))


def test_a_burst_at_the_start_does_not_make_the_run_late():
    """A camera sends five seconds it had buffered at once; wall time must be that of capture."""
    burst = [video(n, arrived=START + 5 * NS + n * 1000) for n in range(125)]
    after = [video(n) for n in range(125, 300)]
    parts = _parts(_run([*burst, *after]))
    assert abs(parts[0].start_ns - START) < 50_000_000
    assert all(a.end_ns == b.start_ns for a, b in pairwise(parts))


def test_jitter_of_arrival_does_not_move_wall_time():
    late = [0, 30_000_000, 5_000_000, 250_000_000]
    units = [
        video(n, arrived=START + n * FRAME_NS + (late[n % 4] if n > 20 else late[n % 2]))
        for n in range(500)
    ]
    parts = _parts(_run(units))
    first = parts[0].media_start
    assert all(
        abs(part.start_ns - START - (part.media_start - first) * NS // 90_000) < 1_000_000
        for part in parts
    )


def test_drift_of_the_camera_is_followed_without_a_jump():
    """100 ppm for an hour are 360 ms; wall time follows arrival to a few milliseconds."""
    fast = 1_000_100
    units = [
        video(n, media=n * TICKS * fast // 1_000_000, arrived=START + n * FRAME_NS)
        for n in range(0, 25 * 3600, 5)
    ]
    parts = _parts(_run(units, SegmenterOptions(file_ns=3600 * NS)))
    assert all(a.end_ns == b.start_ns for a, b in pairwise(parts))
    assert abs(parts[-1].end_ns - (units[-1].arrived_at + 5 * FRAME_NS)) < 15_000_000


@pytest.mark.parametrize("jump", [3600 * 90_000, -3600 * 90_000, -(1 << 33)])
def test_a_leap_of_media_time_neither_stretches_nor_loses_a_frame(jump):
    units = [video(n, media=n * TICKS + (jump if n >= 77 else 0)) for n in range(150)]
    items = _run(units)
    assert len(_frames(items)) == 150
    assert max(s.duration for part in _parts(items) for s in part.samples) == TICKS
    assert _parts(items)[-1].end_ns == START + 150 * FRAME_NS


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_stepped_clock_begins_a_new_run_at_a_key_frame_and_loses_nothing(step_s):
    count = 25 * 120
    units = [
        video(n, arrived=START + n * FRAME_NS + (step_s * NS if n >= 510 else 0))
        for n in range(count)
    ]
    items = _run(units)
    (stepped,) = [item for item in items if isinstance(item, FileBegins) and item.step_ns]
    assert stepped.is_new_run
    assert abs(stepped.step_ns - step_s * NS) < 50_000_000
    assert len(_frames(items)) == count


def test_reordered_frames_keep_their_time_of_showing():
    order = [0, 3, 1, 2, 6, 4, 5, 7]
    units = [video(n, gop=100, media=m * TICKS) for n, m in enumerate(order)]
    (part,) = _parts(_run(units, SegmenterOptions(settle_ns=0)))
    shown, ticks = [], part.media_start
    for sample in part.samples:
        shown.append(ticks + sample.composition)
        ticks += sample.duration
    assert shown == [part.media_start + m * TICKS for m in order]


def test_intra_only_video_does_not_make_a_part_of_each_frame():
    parts = _parts(_run([video(n, gop=1) for n in range(100)]))
    assert {len(part.samples) for part in parts[:-1]} == {16}
    assert all(part.is_key for part in parts)


def test_relieve_gives_out_all_but_the_pending_frame():
    segmenter = Segmenter(SegmenterOptions(settle_ns=0))
    for n in range(10):
        segmenter.push(video(n))
    (part,) = segmenter.relieve()
    assert len(part.payloads) == 9
    assert segmenter.relieve() == []
    rest = [*segmenter.push(video(10)), *segmenter.interrupt()]
    assert [p.payloads for p in rest] == [(video(9).payload, video(10).payload)]
    assert rest[0].start_ns == part.end_ns


def test_after_a_pause_wall_time_is_that_of_arrival_even_if_media_time_stood_still():
    segmenter = Segmenter(SegmenterOptions(settle_ns=0))
    for n in range(50):
        segmenter.push(video(n))
    segmenter.interrupt()
    items = []
    for n in range(50, 75):
        items += segmenter.push(video(n, arrived=START + n * FRAME_NS + 10 * NS))
    part = _parts(items)[0]
    assert abs(part.start_ns - (START + 50 * FRAME_NS + 10 * NS)) < 1_000_000


def test_audio_is_cut_by_time_alone():
    items = _run([audio(n) for n in range(50 * 130)])
    parts = _parts(items)
    assert max(part.media_ticks for part in parts) == 5280
    assert len(_frames(items)) == 50 * 130
    assert sum(isinstance(item, FileBegins) for item in items) == 3
    assert all(a.end_ns == b.start_ns for a, b in pairwise(parts))


def test_a_codec_that_cannot_be_recorded_is_said_once_with_what_to_do():
    config = CodecConfig(codec="h265", rate=90_000)
    items = _run([video(n, config=config) for n in range(60)])
    (gap,) = items
    assert isinstance(gap, Interrupted)
    assert "h265" in gap.detail
    assert "H.264" in gap.detail


def test_recording_begins_when_the_codec_is_right_again():
    config = CodecConfig(codec="h265", rate=90_000)
    items = _run([video(n, config=config if n < 50 else VIDEO_BEFORE) for n in range(100)])
    assert len(_frames(items)) == 50


def test_a_stream_without_key_frames_is_said_once_with_what_to_do():
    items = _run([video(n, gop=100_000) for n in range(1, 1000)])
    (gap,) = items
    assert isinstance(gap, Interrupted)
    assert gap.supersedes
    assert "关键帧" in gap.detail
    assert gap.at == START + 251 * FRAME_NS
