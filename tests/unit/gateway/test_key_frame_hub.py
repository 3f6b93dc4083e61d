import asyncio

import pytest

from contracts.clock import ManualClock
from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.media.h264 import join_nals
from contracts.timestamps import MediaTime, WallTime
from gateway.services.media.key_frame_hub import KeyFrameHub

CONFIG = CodecConfig(codec="h264", rate=90_000, parameter_sets=(b"\x67s", b"\x68p"))


def picture(number: int, *, key: bool = True, payload: bytes | None = None) -> AccessUnit:
    return AccessUnit(
        config=CONFIG,
        key=key,
        media_time=MediaTime(0),
        captured_at=None,
        arrived_at=WallTime(number),
        payload=join_nals([b"\x65" + bytes([number])]) if payload is None else payload,
    )


async def test_a_slow_reader_gets_the_newest_and_a_count(clock: ManualClock) -> None:
    """At most one waits per stream; the one it replaces is counted."""
    hub = KeyFrameHub(clock)
    feed = hub.subscribe(interval_s=0)
    for number in range(3):
        hub.offer("a.main", picture(number))
    hub.offer("b.main", picture(9))
    assert await feed.next() == ("a.main", 2, b"\0\0\0\1\x67s\0\0\0\1\x68p\0\0\0\1\x65\x02")
    assert (await feed.next())[0] == "b.main"
    assert feed.dropped == 2


async def test_no_more_than_one_per_interval(clock: ManualClock) -> None:
    """A detector that wants a picture each two seconds is not woken more often."""
    hub = KeyFrameHub(clock)
    feed = hub.subscribe(interval_s=2)
    hub.offer("a.main", picture(1))
    await feed.next()
    clock.advance(1.9)
    hub.offer("a.main", picture(2))
    clock.advance(0.1)
    hub.offer("a.main", picture(3))
    assert (await feed.next())[1] == 3


async def test_only_whole_key_frames_count(clock: ManualClock) -> None:
    """Other units and broken ones wake nobody; a closed feed gets nothing."""
    hub = KeyFrameHub(clock)
    feed = hub.subscribe(interval_s=0)
    hub.offer("a.main", picture(1, key=False))
    hub.offer("a.main", picture(2, payload=b"\0\0\0\xff"))
    closed = hub.subscribe(interval_s=0)
    closed.close()
    hub.offer("b.main", picture(3))
    assert (await feed.next())[0] == "b.main"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await closed.next()
