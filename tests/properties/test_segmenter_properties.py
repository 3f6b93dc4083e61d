"""Whatever a camera, a network and a clock do: nothing is lost silently, nothing is invented."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contracts.timestamps import NS
from gateway.core.coverage import GapLedger, GapRow, merge_spans
from gateway.core.fmp4 import whole_fragments
from gateway.core.parts import FileBegins, Interrupted, Part
from gateway.core.segmenter import Segmenter, SegmenterOptions
from tests.synthetic_units import FRAME_NS, START, video

EVENTS = st.lists(
    st.sampled_from(["frame"] * 30 + ["loss", "silence", "drop", "session", "relieve", "jump"]),
    min_size=1,
    max_size=400,
)


class Story:
    """A camera that lives through a list of events; the truth to compare with."""

    def __init__(self, gop, options):
        self.segmenter = Segmenter(options)
        self.items = []
        self.sent = []
        self.slot = 0
        self.gop = gop
        self.media_shift = 0

    def interrupt(self, cause):
        self.items += self.segmenter.interrupt()
        self.items.append(Interrupted(at=START + self.slot * FRAME_NS, cause=cause))

    def play(self, events, delays):
        for number, event in enumerate(events):
            lost = 0
            if event == "relieve":
                self.items += self.segmenter.relieve()
            elif event == "session":
                self.items += self.segmenter.begin_session(str(number))
                self.interrupt("agent_disconnected")
                self.slot += 30
            elif event in ("silence", "drop"):
                self.slot += 70
                self.interrupt("no_media" if event == "silence" else "recorder_behind")
            elif event == "loss":
                self.slot += 3
                lost = 5
            elif event == "jump":
                self.media_shift += 500_000_000
            unit = video(
                self.slot,
                gop=self.gop,
                media=self.slot * 3600 + self.media_shift,
                arrived=START + self.slot * FRAME_NS + delays[number % len(delays)],
                lost=lost,
            )
            self.sent.append(unit)
            self.items += self.segmenter.push(unit)
            self.slot += 1
        self.items += self.segmenter.finish("stopped")
        self.interrupt("gateway_stopped")
        return self


DELAYS = st.lists(st.integers(0, 200_000_000), min_size=1, max_size=7)
OPTIONS = st.builds(
    SegmenterOptions,
    part_ns=st.sampled_from([300_000_000, 900_000_000]),
    file_ns=st.sampled_from([2 * NS, 60 * NS]),
    settle_ns=st.sampled_from([0, 400_000_000]),
)


@given(EVENTS, DELAYS, st.integers(1, 60), OPTIONS)
def test_every_octet_from_the_first_key_frame_of_each_session_is_in_a_part(
    events, delays, gop, options
):
    story = Story(gop, options).play(events, delays)
    kept = [p for item in story.items if isinstance(item, Part) for p in item.payloads]
    assert len(kept) == len(story.sent) - story.segmenter.skipped
    missing = iter(unit.payload for unit in story.sent)
    assert all(payload in missing for payload in kept), "in order, unchanged"


@given(EVENTS, DELAYS, st.integers(1, 60), OPTIONS)
def test_recorded_and_gaps_are_the_whole_window(events, delays, gop, options):
    story = Story(gop, options).play(events, delays)
    ledger, rows, spans = GapLedger(), [], []
    changes = ledger.expect(START - NS)
    for item in story.items:
        if isinstance(item, Part):
            spans.append((item.start_ns, item.end_ns))
            changes += ledger.record(item.start_ns, item.end_ns)
        elif isinstance(item, Interrupted):
            changes += ledger.interrupt(item.at, item.cause, item.detail)
    for change in changes:
        if not change.is_new:
            rows.pop()
        rows.append(change.row)
    end = START + (story.slot + 100) * FRAME_NS
    gaps = [(row.from_ns, end if row.to_ns is None else row.to_ns) for row in rows]
    (whole,) = merge_spans([*spans, *gaps], START - NS, end)
    assert (whole.from_ns, whole.to_ns) == (START - NS, end)
    assert all(isinstance(row, GapRow) for row in rows)


@given(EVENTS, DELAYS, st.integers(1, 60), OPTIONS)
def test_files_begin_with_key_frames_and_media_time_never_runs_back(events, delays, gop, options):
    story = Story(gop, options).play(events, delays)
    before = None
    for first, second in pairwise(story.items):
        if isinstance(first, FileBegins):
            assert isinstance(second, Part)
            assert second.is_key
            before = None if first.is_new_run else before
        if isinstance(second, Part):
            assert before is None or second.media_start >= before
            assert second.end_ns > second.start_ns
            before = second.media_start + second.media_ticks


@given(st.binary(max_size=300), st.integers(0, 20))
def test_any_octets_are_walked_without_an_error(octets, at):
    assert list(whole_fragments(octets, at)) == []
