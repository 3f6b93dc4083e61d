import itertools

from hypothesis import given
from hypothesis import strategies as st

from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.media.rtp_timeline import ArrivalClock, RtpTimeline
from contracts.timestamps import NS, MediaTime, WallTime

VIDEO = CodecConfig(codec="h264", rate=90_000)


def unit(ticks: int, seconds: float) -> AccessUnit:
    return AccessUnit(
        config=VIDEO,
        key=False,
        media_time=MediaTime(ticks),
        captured_at=None,
        arrived_at=WallTime(int(seconds * NS)),
        payload=b"",
    )


def test_one_session_keeps_its_own_intervals() -> None:
    """Media time is passed on as it is, from zero."""
    timeline = RtpTimeline(90_000)
    assert [timeline.ticks(unit(5000 + 3600 * n, n / 25)) for n in range(3)] == [0, 3600, 7200]


def test_a_new_session_continues_by_the_wall_clock() -> None:
    """Ten seconds of silence are ten seconds on the RTP clock, whatever media time says."""
    timeline = RtpTimeline(90_000)
    timeline.ticks(unit(0, 0))
    timeline.restart()
    assert timeline.ticks(unit(77, 10)) == 900_000


def test_a_pause_is_neither_backward_nor_endless() -> None:
    """A clock that was set back, or a camera that was away for a day, stays within RTP's range."""
    timeline = RtpTimeline(90_000)
    timeline.ticks(unit(0, 100))
    timeline.restart()
    assert timeline.ticks(unit(0, 50)) == 3600
    timeline.restart()
    assert timeline.ticks(unit(0, 90_000)) == 3600 + 3600 * 90_000


def test_catching_up_fits_into_one_frame() -> None:
    """The past is shown at once; the last picture keeps its own time."""
    timeline = RtpTimeline(90_000)
    times = timeline.squeeze([unit(3600 * n, n / 25) for n in range(50)])
    assert times[-1] - times[0] < 3600
    assert timeline.ticks(unit(3600 * 50, 2)) == times[-1] + 3600


def test_the_least_delayed_arrival_sets_the_clock() -> None:
    """A burst that comes late keeps its places in time; a drifting clock is followed."""
    clock = ArrivalClock(90_000, window_s=1)
    delays = [20, 0, 300, 260, 5]
    walls = [
        clock.wall(3600 * n, WallTime(10**12 + (40 * n + delay) * 10**6))
        for n, delay in enumerate(delays)
    ]
    assert [(w - 10**12) // 10**6 - 40 * n for n, w in enumerate(walls)] == [20, 0, 0, 0, 0]
    late = [clock.wall(3600 * n, WallTime(10**12 + (40 * n + 50) * 10**6)) for n in range(5, 80)]
    assert (late[-1] - 10**12) // 10**6 == 40 * 79 + 50
    clock.restart()
    assert clock.wall(0, WallTime(7)) == 7


@given(st.lists(st.sampled_from(["next", "restart", "again"]), max_size=60))
def test_time_always_grows(steps: list[str]) -> None:
    """New sessions and repeated groups of pictures never send time backwards."""
    timeline = RtpTimeline(90_000)
    sent = [timeline.ticks(unit(0, 0))]
    session = [unit(0, 0)]
    clock = 0.0
    for step in steps:
        clock += 0.04
        if step == "restart":
            timeline.restart()
            session = []
        if step == "again" and session:
            sent += timeline.squeeze(session)
        else:
            session.append(unit(len(session) * 3600, clock))
            sent.append(timeline.ticks(session[-1]))
    assert all(later > earlier for earlier, later in itertools.pairwise(sent))
