"""A step's footage: claimed with its rolls, honest about gaps, stated when it changes."""

from contracts.timestamps import NS, WallTime
from contracts.wire.footage import Gap, Span, Timeline
from contracts.wire.orders import DeviceEntry, PlaceEntry, SiteOrder, StepOrder
from gateway.core.linking import (
    SETTLE_NS,
    LinkedStep,
    bind,
    covering_streams,
    is_news,
    merge_step,
    wanted,
)

START = 1_790_000_000 * NS
MAIN = "cam-07-front.main"


def at(seconds: float) -> WallTime:
    return WallTime(START + int(seconds * NS))


def order(ended: float | None = None) -> StepOrder:
    return StepOrder(
        id="e-1",
        step="step-1",
        case="case-1",
        place="counter-07",
        person="liu-yang",
        started_ns=at(0),
        ended_ns=None if ended is None else at(ended),
    )


def camera(name: str, place: str, *streams: str) -> DeviceEntry:
    return DeviceEntry(id=name, device_class="camera", name=name, place=place, streams=streams)


SITE = SiteOrder(
    id="o-1",
    version=1,
    site="demo",
    name="示范区",
    places=(PlaceEntry(id="counter-07", name="07 号窗口", kind="counter"),),
    devices=(
        camera("cam-07-front", "counter-07", "main"),
        camera("cam-08-front", "counter-08", "main", "sub"),
    ),
    persons=(),
)
STREAMS = covering_streams(SITE, "counter-07")


def timeline(
    *spans: tuple[float, float],
    gaps: tuple[tuple[float, float | None], ...] = (),
    stream: str = MAIN,
) -> dict[str, Timeline]:
    return {
        stream: Timeline(
            stream=stream,
            from_ns=at(-100),
            to_ns=at(100),
            recorded=tuple(Span(from_ns=at(a), to_ns=at(b)) for a, b in spans),
            gaps=tuple(
                Gap(
                    from_ns=at(a),
                    to_ns=None if b is None else at(b),
                    cause="camera_unreachable",
                )
                for a, b in gaps
            ),
            codec="avc1.4d0028",
            clock_offset_ms=12,
        )
    }


def test_only_cameras_of_the_place_are_claimed():
    """All their streams, and nobody else's."""
    assert [s.stream for s in STREAMS] == [MAIN]
    assert [s.stream for s in covering_streams(SITE, "counter-08")] == [
        "cam-08-front.main",
        "cam-08-front.sub",
    ]
    assert covering_streams(None, "counter-07") == []


def test_a_running_step_claims_up_to_now():
    """With pre-roll; the post-roll comes when it has ended."""
    assert wanted(order(), now=at(5)) == (at(-10), at(5))
    assert wanted(order(60), now=at(65)) == (at(-10), at(65))
    assert wanted(order(60), now=at(500)) == (at(-10), at(70))


def test_a_step_that_is_all_there():
    """Covered 1000, final as soon as everything up to the end of the post-roll is indexed."""
    step = LinkedStep(order=order(60))
    early = bind(step, STREAMS, timeline((-100, 62)), now=at(71))
    assert not early.final
    link = bind(step, STREAMS, timeline((-100, 71)), now=at(73))
    assert (link.final, link.covered_permille, link.revision) == (True, 1000, 1)
    assert (link.from_ns, link.to_ns) == (at(0), at(60))
    (coverage,) = link.streams
    assert coverage.recorded == (Span(from_ns=at(-10), to_ns=at(70)),)
    assert (coverage.gaps, coverage.covered_permille, coverage.clock_offset_ms) == ((), 1000, 12)


def test_a_gap_is_stated_with_its_cause_and_floors_the_coverage():
    """Ten of sixty seconds without a camera: 833, never 834."""
    recorded = timeline((-100, 20), (30, 100), gaps=((20, 30),))
    link = bind(LinkedStep(order=order(60)), STREAMS, recorded, now=at(80))
    assert link.final
    assert link.covered_permille == 833
    (gap,) = link.streams[0].gaps
    assert (gap.from_ns, gap.to_ns, gap.cause) == (at(20), at(30), "camera_unreachable")
    assert link.streams[0].covered_permille == 875


def test_one_missing_frame_is_not_all():
    """1000 means that nothing is missing."""
    link = bind(
        LinkedStep(order=order(60)), STREAMS, timeline((-100, 20), (20.04, 100)), now=at(200)
    )
    assert link.covered_permille == 999


def test_rounding_between_clocks_is_nothing_missing():
    """Neighbouring parts may differ by less than a millisecond."""
    spans = timeline((-100, 20), (20.0005, 100))
    link = bind(LinkedStep(order=order(60)), STREAMS, spans, now=at(80))
    assert (link.final, link.covered_permille) == (True, 1000)


def test_unexplained_silence_becomes_a_gap_at_the_end():
    """A camera that never recorded is not passed over."""
    step = LinkedStep(order=order(60))
    waiting = bind(step, STREAMS, {}, now=at(80))
    assert (waiting.final, waiting.streams[0].gaps) == (False, ())
    settled = WallTime(at(70) + SETTLE_NS)
    link = bind(step, STREAMS, {}, now=settled)
    (gap,) = link.streams[0].gaps
    assert link.final
    assert (gap.from_ns, gap.to_ns, gap.cause) == (at(-10), at(70), "not_started")
    assert link.covered_permille == 0


def test_a_place_without_cameras_says_so():
    """An empty link, final after the wait."""
    link = bind(LinkedStep(order=order(60)), [], {}, now=WallTime(at(70) + SETTLE_NS))
    assert (link.final, link.streams, link.covered_permille) == (True, (), 0)


def test_one_of_two_cameras_covers_the_step():
    """The step's own coverage needs one of them at a time; each tells its own."""
    streams = covering_streams(SITE, "counter-08")
    both = timeline((-20, 30), stream="cam-08-front.main") | timeline(
        (30, 80), stream="cam-08-front.sub"
    )
    link = bind(LinkedStep(order=order(60)), streams, both, now=at(200))
    assert link.covered_permille == 1000
    assert [s.covered_permille for s in link.streams] == [500, 500]


def test_passing_time_is_no_news_but_gaps_and_the_end_are():
    """A running step is stated at its start, when a gap opens or closes, and when it ends."""
    first = bind(LinkedStep(order=order()), STREAMS, timeline((-100, 1)), now=at(1))
    assert is_news(None, first, order())
    stated = LinkedStep(order=order(), link=first)

    later = bind(stated, STREAMS, timeline((-100, 3)), now=at(3.9))
    assert later.revision == 2
    assert not is_news(first, later, order())

    first = bind(stated, STREAMS, timeline((-100, 20)), now=at(20))
    assert not is_news(first, bind(stated, STREAMS, timeline((-100, 38)), now=at(39)), order())
    opened = bind(stated, STREAMS, timeline((-100, 20), gaps=((20, None),)), now=at(25))
    assert is_news(first, opened, order())
    still = bind(stated, STREAMS, timeline((-100, 20), gaps=((20, None),)), now=at(30))
    assert not is_news(opened, still, order())
    closed = bind(stated, STREAMS, timeline((-100, 20), (31, 32), gaps=((20, 31),)), now=at(32))
    assert is_news(opened, closed, order())

    ended = bind(
        LinkedStep(order=order(40), link=closed), STREAMS, timeline((-100, 20)), now=at(40.1)
    )
    assert is_news(closed, ended, order(40))
    assert not is_news(ended, ended, order(40))


def test_a_long_step_is_told_a_handful_of_times():
    """Eight hours at one judgement a second: the coverage grows, the revisions do not pile up."""
    step, count = LinkedStep(order=order()), 0
    for second in range(1, 8 * 3600):
        now = at(second)
        link = bind(step, STREAMS, timeline((-100, second)), now=now)
        if is_news(step.link, link, step.order):
            step, count = LinkedStep(order=order(), link=link), count + 1
    assert count < 16
    assert step.link is not None
    assert step.link.covered_permille == 1000


def test_late_footage_is_news():
    """After an outage the agent's copy arrives, and the link says so."""
    step = LinkedStep(order=order(60))
    before = bind(step, STREAMS, timeline((-100, 20), (30, 100), gaps=((20, 30),)), now=at(80))
    after = bind(step, STREAMS, timeline((-100, 100)), now=at(300))
    assert is_news(before, after, order(60))
    assert not is_news(after, after, order(60))


def test_a_clock_set_back_reopens_nothing():
    """Neither a final link nor an ended step."""
    final = bind(LinkedStep(order=order(60)), STREAMS, timeline((-100, 100)), now=at(80))
    back = bind(LinkedStep(order=order(60)), STREAMS, timeline((-100, 50)), now=at(50))
    assert not is_news(final, back, order(60))
    assert merge_step(order(60), order()) == order(60)
    assert merge_step(order(), order(60)) == order(60)
    assert merge_step(None, order()) == order()
