from hypothesis import given
from hypothesis import strategies as st

from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.timestamps import MediaTime, WallTime
from edge_agent.core.send_queue import SendQueue

VIDEO = CodecConfig(codec="h264", rate=90_000)
AUDIO = CodecConfig(codec="pcma", rate=8000)


def unit(
    number: int, *, key: bool = False, size: int = 10, config: CodecConfig = VIDEO
) -> AccessUnit:
    return AccessUnit(
        config=config,
        key=key,
        media_time=MediaTime(number),
        captured_at=None,
        arrived_at=WallTime(0),
        payload=bytes(size),
    )


def taken(queue: SendQueue) -> list[int]:
    return [got[0].media_time for got in iter(queue.pop, None)]


def test_unconnected_queue_keeps_the_newest_group_of_pictures() -> None:
    """The first packet a gateway gets belongs to a key frame that is seconds old at most."""
    queue = SendQueue(most_bytes=10_000)
    for number in range(25):
        queue.put(unit(number, key=number % 10 == 0), 1)
    assert queue.skipped == 20
    queue.open()
    assert taken(queue) == [20, 21, 22, 23, 24]
    assert queue.dropped == 0


def test_full_queue_drops_to_the_next_key_frame() -> None:
    """Half a group of pictures would only be sent to be thrown away."""
    queue = SendQueue(most_bytes=55)
    queue.open()
    for number in range(8):
        queue.put(unit(number, key=number in (0, 7)), 1)
    assert taken(queue) == [7]
    assert queue.dropped == 7


def test_closing_forgets_what_was_on_its_way() -> None:
    """After a lost connection the next one begins at a key frame."""
    queue = SendQueue(most_bytes=1000)
    queue.open()
    queue.put(unit(0, key=True), 1)
    queue.put(unit(1), 1)
    queue.close()
    queue.put(unit(2), 1)
    queue.put(unit(3, key=True), 1)
    queue.open()
    assert taken(queue) == [3]


def test_a_microphone_needs_no_key_frame() -> None:
    """Streams without video never wait for one."""
    queue = SendQueue(most_bytes=1000)
    queue.put(unit(0, key=True, config=AUDIO), 1)
    queue.close()
    queue.put(unit(1, key=True, config=AUDIO), 1)
    queue.open()
    assert taken(queue) == [1]


def test_units_keep_their_session() -> None:
    """What waits from before a reconnection of the camera is still of the old session."""
    queue = SendQueue(most_bytes=1000)
    queue.open()
    queue.put(unit(0, key=True), 1)
    queue.put(unit(0, key=True), 2)
    assert [got[1] for got in iter(queue.pop, None)] == [1, 2]


STEP = st.one_of(
    st.tuples(st.just("put"), st.booleans(), st.integers(1, 60)),
    st.sampled_from([("open",), ("close",), ("pop",)]),
)


@given(st.lists(STEP, max_size=200))
def test_bytes_are_bounded_and_every_unit_is_accounted_for(steps: list[tuple]) -> None:
    """Sent, waiting, dropped or skipped: the sum is what was put in."""
    queue = SendQueue(most_bytes=100)
    put = got = 0
    last = -1
    for step in steps:
        match step:
            case ("put", key, size):
                queue.put(unit(put, key=key, size=size), 1)
                put += 1
            case ("open",):
                queue.open()
            case ("close",):
                queue.close()
            case ("pop",):
                taken_unit = queue.pop()
                if taken_unit is not None:
                    assert taken_unit[0].media_time > last
                    last = taken_unit[0].media_time
                    got += 1
        assert queue.byte_count <= 100
        assert got + len(queue) + queue.dropped + queue.skipped == put
