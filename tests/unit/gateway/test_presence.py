"""Presence at a post, told with pictures every two seconds."""

from contracts.timestamps import NS, WallTime
from gateway.core.presence import Observation, PresenceRules, PresenceTrack, observe_unwell

START = 1_790_000_000 * NS


def at(seconds: float) -> WallTime:
    return WallTime(START + int(seconds * NS))


def track() -> PresenceTrack:
    return PresenceTrack(
        place="counter-07",
        device="cam-07-front",
        model="yunet 2023mar",
        since=at(0),
        why="begun",
        rules=PresenceRules(),
    )


def see(one: PresenceTrack, first: int, last: int, people: int) -> None:
    for second in range(first, last + 1, 2):
        one.observe(Observation(at(second), people))


def told(one: PresenceTrack, now: float) -> list[tuple[str, float, float | None]]:
    return [
        (i.state, (i.start - START) / NS, None if i.end is None else (i.end - START) / NS)
        for i in one.intervals(at(now))
    ]


def test_somebody_comes_and_goes():
    """Unknown, absent from the first empty picture, present from the first with somebody."""
    one = track()
    see(one, 2, 30, 0)
    see(one, 32, 60, 2)
    see(one, 62, 90, 0)
    assert told(one, 90) == [
        ("unknown", 0, 2),
        ("absent", 2, 32),
        ("present", 32, 62),
        ("absent", 62, None),
    ]
    assert one.intervals(at(90))[2].most_people == 2


def test_a_turned_head_is_not_an_absence():
    """Twenty seconds without a face are needed."""
    one = track()
    see(one, 0, 10, 1)
    see(one, 12, 28, 0)
    see(one, 30, 40, 1)
    assert told(one, 40) == [("present", 0, None)]


def test_one_picture_proves_nothing():
    """A poster that flickers for one picture is nobody."""
    one = track()
    see(one, 0, 30, 0)
    see(one, 32, 32, 1)
    see(one, 34, 50, 0)
    assert told(one, 50) == [("absent", 0, None)]


def test_silence_is_unknown_and_never_absence():
    """Without pictures nobody knows; afterwards evidence is gathered anew."""
    one = track()
    see(one, 0, 10, 1)
    assert told(one, 20)[-1] == ("present", 0, None)
    assert told(one, 23)[-2:] == [("present", 0, 10), ("unknown", 10, None)]
    see(one, 60, 64, 1)
    assert told(one, 64) == [("present", 0, 10), ("unknown", 10, 60), ("present", 60, None)]


def test_an_unwell_camera_says_why():
    """The cause goes into the interval."""
    one = track()
    see(one, 0, 10, 1)
    one.observe(observe_unwell(at(12), "密码错误"))
    unknown = one.intervals(at(13))[-1]
    assert (unknown.state, unknown.start, unknown.cause) == ("unknown", at(12), "密码错误")


def test_a_late_picture_withdraws_what_was_wrong():
    """The interval that turned out not to be is stated again with no length."""
    one = track()
    see(one, 0, 10, 1)
    first = one.restate(at(10))
    silent = one.restate(at(30))
    assert [(f.state, f.to_ns) for f in silent] == [("present", at(10)), ("unknown", None)]
    see(one, 12, 30, 1)
    mended = one.restate(at(30))
    assert [(f.state, f.from_ns, f.to_ns, f.revision) for f in mended] == [
        ("present", at(0), None, 3),
        ("unknown", at(10), at(10), 2),
    ]
    assert first[-1].id == mended[0].id


def test_the_same_picture_twice_is_one():
    """And one from before the track began is none."""
    one = track()
    assert one.observe(Observation(at(1), 1))
    assert not one.observe(Observation(at(1), 1))
    assert not one.observe(Observation(at(-1), 1))
