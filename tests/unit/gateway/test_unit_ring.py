from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.timestamps import NS, MediaTime, WallTime
from gateway.core.stream_events import SourceDown, SourceUp, UnitsDropped
from gateway.core.unit_ring import RingLimits, RingPlace, UnitRing

VIDEO = CodecConfig(codec="h264", rate=90_000)
AUDIO = CodecConfig(codec="pcma", rate=8000)
T0 = 1_790_000_000 * NS


def unit(
    number: int,
    *,
    key: bool = False,
    size: int = 100,
    config: CodecConfig = VIDEO,
    step_ns: int = NS // 25,
) -> AccessUnit:
    return AccessUnit(
        config=config,
        key=key,
        media_time=MediaTime(number * 3600),
        captured_at=None,
        arrived_at=WallTime(T0 + number * step_ns),
        payload=bytes(size),
    )


def numbers(place: RingPlace) -> list[object]:
    """What a place reads: numbers of units, other events as they are."""
    events: Iterator[object] = iter(place.read, None)
    return [e.media_time // 3600 if isinstance(e, AccessUnit) else e for e in events]


def gops(ring: UnitRing, count: int, *, length: int = 10, size: int = 100, start: int = 0) -> None:
    for number in range(start, start + count * length):
        ring.append(unit(number, key=number % length == 0, size=size))


def test_new_place_begins_with_state_and_newest_key_frame() -> None:
    """A viewer sees a picture at once: the GOP so far is there."""
    ring = UnitRing(RingLimits())
    up = SourceUp(at=WallTime(T0), session="s")
    ring.append(up)
    gops(ring, 2)
    ring.append(unit(20, key=True))
    ring.append(unit(21))
    assert numbers(ring.place(holds=False)) == [up, 20, 21]


def test_place_without_key_frame_waits_for_the_next() -> None:
    """Units of a GOP whose key frame is gone are of no use to a new reader."""
    ring = UnitRing(RingLimits())
    down = SourceDown(at=WallTime(T0), cause="no_media")
    ring.append(unit(0, key=True))
    ring.append(down)
    place = ring.place(holds=False)
    assert numbers(place) == [down]
    ring.append(unit(5, key=True))
    assert numbers(place) == [5]


def test_nobody_reading_keeps_the_bounds() -> None:
    """Seconds and bytes bound the ring when nobody holds back."""
    ring = UnitRing(RingLimits(most_bytes=1 << 20, most_ns=2 * NS))
    gops(ring, 40)
    assert ring.end - ring.base <= 51
    small = UnitRing(RingLimits(most_bytes=5000, most_ns=100 * NS))
    gops(small, 40)
    assert small.byte_count <= 5000


def test_last_key_frame_outlives_the_seconds() -> None:
    """A camera with a GOP longer than the bound still has a GOP cache."""
    ring = UnitRing(RingLimits(most_ns=NS))
    gops(ring, 1, length=100)
    assert numbers(ring.place(holds=False)) == list(range(100))


def test_recorder_holds_back_then_learns_what_was_lost() -> None:
    """Up to the byte limit nothing is lost; past it the loss is told, and it resumes at a key."""
    ring = UnitRing(RingLimits(most_bytes=1000, most_ns=NS, held_bytes=30 * 300))
    recorder = ring.place(holds=True)
    gops(ring, 3)  # 30 units of 100 + 200 octets
    assert ring.byte_count == 9000
    ring.append(unit(30, key=True))
    ring.append(unit(31))
    events = numbers(recorder)
    assert events == [
        UnitsDropped(count=10, first=WallTime(T0), last=WallTime(T0 + 9 * NS // 25)),
        *range(10, 32),
    ]
    assert numbers(recorder) == []


def test_source_state_survives_a_loss() -> None:
    """SourceDown and SourceUp that were pruned are told after the loss, the latest only."""
    ring = UnitRing(RingLimits(held_bytes=20 * 300))
    recorder = ring.place(holds=True)
    gops(ring, 1)
    ring.append(SourceDown(at=WallTime(T0), cause="no_media"))
    up = SourceUp(at=WallTime(T0), session="again")
    ring.append(up)
    gops(ring, 2, start=100)
    dropped, state, *units = numbers(recorder)
    assert isinstance(dropped, UnitsDropped)
    assert state == up
    assert units == list(range(100 + dropped.count - 10, 120))


def test_slow_viewer_jumps_to_the_newest_key_frame() -> None:
    """A viewer never holds back; it loses old pictures, not the live one."""
    ring = UnitRing(RingLimits(lag_ns=NS))
    viewer = ring.place(holds=False)
    gops(ring, 10)  # 4 seconds
    dropped, first, *_ = numbers(viewer)
    assert dropped == UnitsDropped(count=90, first=WallTime(T0), last=WallTime(T0 + 89 * NS // 25))
    assert first == 90


def test_audio_only_streams_start_anywhere() -> None:
    """Without video every audio packet is a place to start."""
    ring = UnitRing(RingLimits())
    ring.append(unit(0, key=True, config=AUDIO))
    ring.append(unit(1, key=True, config=AUDIO))
    assert numbers(ring.place(holds=False)) == [1]


def test_a_loss_is_not_forgotten_over_a_change_of_state() -> None:
    """A source that fell silent resumes in the middle of a group: of no use after a loss."""
    ring = UnitRing(RingLimits(held_bytes=3 * 300))
    recorder = ring.place(holds=True)
    for number in range(4):
        ring.append(unit(number, key=number == 0))
    down = SourceDown(at=WallTime(T0), cause="no_media")
    ring.append(down)
    dropped, *rest = numbers(recorder)
    assert (dropped.count, rest) == (4, [down])
    ring.append(unit(4))
    ring.append(unit(5, key=True))
    ring.append(unit(6))
    again, *rest = numbers(recorder)
    assert (again.count, rest) == (1, [5, 6])


def test_a_state_that_was_passed_over_costs_no_pictures() -> None:
    """Only lost units make a reader wait for a key frame."""
    ring = UnitRing(RingLimits())
    viewer = ring.place(holds=False)
    ring.append(unit(0, key=True))
    assert numbers(viewer) == [0]
    ring.append(SourceDown(at=WallTime(T0), cause="no_media"))
    up = SourceUp(at=WallTime(T0), session="s")
    ring.append(up)
    ring.append(unit(1))
    assert numbers(viewer)[-2:] == [up, 1]


def test_restart_gives_the_newest_gop_again() -> None:
    """After a picture loss a viewer gets the last key frame anew; the recorder never goes back."""
    ring = UnitRing(RingLimits())
    viewer, recorder = ring.place(holds=False), ring.place(holds=True)
    gops(ring, 2)
    assert numbers(viewer) == list(range(20))
    assert viewer.restart()
    assert numbers(viewer) == list(range(10, 20))
    assert not recorder.restart()


STEP = st.one_of(
    st.tuples(st.just("unit"), st.booleans(), st.integers(0, 2000)),
    st.tuples(st.just("read"), st.integers(1, 30)),
    st.tuples(st.just("state"), st.booleans()),
)


@given(steps=st.lists(STEP, max_size=300), holds=st.booleans())
def test_every_unit_is_read_or_counted(steps: list[tuple], holds: bool) -> None:
    """Whatever the order of writing and reading: nothing is lost silently, nothing comes twice."""
    limits = RingLimits(most_bytes=4000, most_ns=NS, held_bytes=12_000, lag_ns=NS // 2)
    ring = UnitRing(limits)
    place = ring.place(holds=holds)
    written, seen, after_loss = 0, 0, False
    last_state = told_state = None

    def drain(most: int) -> None:
        nonlocal seen, after_loss, told_state
        for _ in range(most):
            match place.read():
                case None:
                    return
                case UnitsDropped(count=count):
                    seen += count
                    after_loss = True
                case AccessUnit() as got:
                    assert got.media_time == seen * 3600
                    assert got.key or not after_loss
                    seen += 1
                    after_loss = False
                case state:
                    told_state = state

    for step in steps:
        match step:
            case ("unit", key, size):
                ring.append(unit(written, key=key, size=size))
                written += 1
            case ("state", is_up):
                at = WallTime(T0 + written)
                last_state = (
                    SourceUp(at=at, session="s") if is_up else SourceDown(at=at, cause="no_media")
                )
                ring.append(last_state)
            case ("read", most):
                drain(most)
        assert ring.byte_count <= limits.held_bytes
    ring.append(unit(written, key=True, size=0))
    drain(10_000)
    assert seen == written + 1
    assert told_state == last_state
