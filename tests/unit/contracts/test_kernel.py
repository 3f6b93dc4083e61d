"""Ids, clocks, time conversions, back-off and canonical bytes."""

import pytest

from contracts import canonical, ids, timestamps
from contracts.backoff import Backoff
from contracts.clock import ManualClock
from contracts.errors import InvalidInput, MingjingError, ProtocolError, Unavailable
from contracts.timestamps import NS


@pytest.mark.parametrize("text", ["cam-07", "a", "0", "a" * 64])
def test_an_id_holds_letters_digits_and_inner_hyphens(text):
    assert ids.parse_device_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "A", "a.b", "a/b", "+", "#", ">", "*", "a" * 65, "窗口"]
)
def test_anything_that_could_widen_a_topic_or_a_path_is_no_id(text):
    with pytest.raises(InvalidInput, match="device"):
        ids.parse_device_id(text)


@pytest.mark.parametrize("name", ["gateway", "central"])
def test_a_device_cannot_take_the_name_of_a_program(name):
    with pytest.raises(InvalidInput, match="reserved"):
        ids.parse_device_id(name)


def test_a_stream_id_splits_into_what_it_was_made_of():
    assert ids.split_stream_id(ids.stream_id("cam-07", "main")) == ("cam-07", "main")


@pytest.mark.parametrize("text", ["cam", "cam.", ".main", "gateway.main", "a.b.c"])
def test_a_broken_stream_id_is_refused(text):
    with pytest.raises(InvalidInput, match="stream"):
        ids.split_stream_id(text)


def test_a_uuid7_carries_its_millisecond_version_and_variant():
    text = ids.uuid7(now=1_790_000_000_123_456_789, random=b"\xff" * 10)
    assert int(text.replace("-", "")[:12], 16) == 1_790_000_000_123
    assert text[14] == "7"
    assert text[19] in "89ab"


def test_ntp_and_wall_time_convert_without_loss_above_a_nanosecond():
    for wall in (0, 1_790_000_000_000_000_000, 1_790_000_000_999_999_999):
        assert abs(timestamps.ntp_to_wall(timestamps.wall_to_ntp(wall)) - wall) <= 1


def test_iso_text_returns_to_the_same_microsecond():
    wall = 1_790_000_000_123_456_000
    assert timestamps.from_iso(timestamps.to_iso(wall)) == wall


@pytest.mark.parametrize("text", ["2026-11-24T10:00:00", "yesterday", ""])
def test_a_time_without_an_offset_is_refused(text):
    with pytest.raises(InvalidInput, match="since"):
        timestamps.from_iso(text, field="since")


def test_delays_grow_to_the_cap_and_jitter_only_shortens_them():
    backoff = Backoff(first_s=1, factor=2, most_s=10, jitter=0.5)
    assert [backoff.delay(n, random=0) for n in range(5)] == [1, 2, 4, 8, 10]
    assert 5 == backoff.delay(1_000_000, random=1)


def test_canonical_bytes_do_not_depend_on_the_order_of_keys():
    assert canonical.canonical_bytes({"b": 1, "a": "窗"}) == '{"a":"窗","b":1}'.encode()
    assert canonical.digest({"a": 1, "b": 2}) == canonical.digest({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("value", "field"), [({"a": [1, 0.5]}, "a[1]"), ({"a": {"b": b"x"}}, "a.b"), (float("nan"), "")]
)
def test_what_has_no_canonical_form_is_named(value, field):
    with pytest.raises(InvalidInput) as caught:
        canonical.canonical_bytes(value)
    assert caught.value.field == field


def test_a_protocol_error_is_bad_input_and_unavailable_is_not():
    assert issubclass(ProtocolError, InvalidInput)
    assert not issubclass(Unavailable, InvalidInput)
    assert issubclass(Unavailable, MingjingError)


async def test_a_manual_clock_wakes_only_whom_it_has_moved_past():
    import asyncio

    clock = ManualClock()
    woken = []

    async def wait(seconds):
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        group.create_task(wait(1))
        group.create_task(wait(3))
        await asyncio.sleep(0)
        clock.advance(2)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert woken == [1]
        clock.advance(1)
    assert woken == [1, 3]
    assert clock.monotonic_ns() == 3 * NS


def test_stepping_the_wall_clock_leaves_monotonic_time_alone():
    clock = ManualClock(start=10 * NS)
    clock.step_wall(-5)
    assert (clock.now(), clock.monotonic_ns()) == (5 * NS, 0)
