"""Records of every width in `zk_records`, with their truncated and false twins."""

import struct

import pytest

from contracts.errors import ProtocolError
from contracts.timestamps import from_iso
from edge_agent.core.zk_records import (
    Attendance,
    TerminalTime,
    Unreadable,
    attendance_width,
    decode_time,
    encode_time,
    local_time,
    parse_attendance,
    parse_counters,
    parse_event,
    parse_users,
)

TIME = TerminalTime(2026, 11, 24, 3, 0, 0)
STAMP = bytes.fromhex("1a0b18030000")
ID24 = b"1001".ljust(24, b"\0")
EVENTS = {
    10: struct.pack("<HBB", 7, 1, 0) + STAMP,
    12: struct.pack("<IBB", 1001, 1, 0) + STAMP,
    14: struct.pack("<HBB", 7, 1, 0) + STAMP + bytes(4),
    32: ID24 + b"\1\0" + STAMP,
    36: ID24 + b"\1\0" + STAMP + bytes(4),
    37: ID24 + b"\1\0" + STAMP + bytes(5),
    52: ID24 + b"\1\0" + STAMP + bytes(20),
}
STORED = {
    8: struct.pack("<HBIB", 7, 1, encode_time(TIME), 0),
    16: struct.pack("<IIBB2xI", 1001, encode_time(TIME), 1, 0, 0),
    40: struct.pack("<H24sBIB8x", 7, ID24, 1, encode_time(TIME), 0),
}


def read(body, *, count, width=None):
    found = attendance_width(body, count=count, width=width)
    return found, parse_attendance(body, width=found)


def table(*records: bytes) -> bytes:
    body = b"".join(records)
    return struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("width", EVENTS)
def test_live_events_of_every_width(width):
    (record,) = parse_event(EVENTS[width])
    assert isinstance(record, Attendance)
    assert (record.verify, record.direction, record.time) == ("finger", "in", TIME)
    expected = {10: ("", 7), 12: ("1001", None), 14: ("", 7)}.get(width, ("1001", None))
    assert (record.user, record.uid) == expected
    assert record.raw == EVENTS[width]


@pytest.mark.parametrize("width", EVENTS)
def test_several_live_events_in_one_frame_when_the_profile_pins_the_width(width):
    assert len(parse_event(EVENTS[width] * 3, width=width)) == 3


def test_several_live_events_are_told_apart_without_a_profile():
    assert len(parse_event(EVENTS[52] * 2)) == 2
    assert len(parse_event(EVENTS[32] * 5)) == 5


@pytest.mark.parametrize("width", EVENTS)
def test_truncated_live_events_are_refused(width):
    with pytest.raises(ProtocolError, match="event"):
        parse_event(EVENTS[width][:-1], width=width)
    with pytest.raises(ProtocolError, match="event"):
        parse_event(EVENTS[width][:9])


@pytest.mark.parametrize("width", EVENTS)
def test_a_live_event_with_an_impossible_month_is_unreadable(width):
    raw = bytearray(EVENTS[width])
    raw[raw.index(STAMP) + 1] = 13
    (record,) = parse_event(bytes(raw))
    assert isinstance(record, Unreadable)
    assert "2026-13-24" in record.reason


@pytest.mark.parametrize("width", STORED)
def test_stored_records_of_every_width(width):
    found, records = read(table(*[STORED[width]] * 3), count=3)
    assert found == width
    assert len(records) == 3
    record = records[0]
    assert isinstance(record, Attendance)
    assert (record.verify, record.direction, record.time) == ("finger", "in", TIME)
    assert (record.user, record.uid) == {8: ("", 7), 16: ("1001", None), 40: ("1001", 7)}[width]


@pytest.mark.parametrize("width", STORED)
def test_truncated_tables_are_refused(width):
    whole = table(STORED[width], STORED[width])
    with pytest.raises(ProtocolError, match=r"states .* bytes"):
        read(whole[:-1], count=2)
    with pytest.raises(ProtocolError, match="are not 3 records"):
        read(whole, count=3)
    with pytest.raises(ProtocolError, match="no multiple"):
        read(table(STORED[width] + b"\0"), count=1, width=width)


def test_one_unreadable_record_costs_no_other():
    bad = struct.pack("<H24sBIB8x", 7, b"\xff" * 24, 1, encode_time(TIME), 0)
    _, records = read(table(STORED[40], bad, STORED[40]), count=3)
    assert [type(record) for record in records] == [Attendance, Unreadable, Attendance]


def test_the_width_is_never_guessed_against_the_count():
    eighteen_small = b"".join(
        struct.pack("<HB5s8sIxBhI", n, 0, b"", b"name", 0, 1, 0, 1000 + n) for n in range(18)
    )
    users = parse_users(table(eighteen_small), count=18)
    assert [user.user for user in users] == [str(1000 + n) for n in range(18)]
    assert len(eighteen_small) % 72 == 0
    with pytest.raises(ProtocolError, match="are not 17 records"):
        parse_users(table(eighteen_small), count=17)


def test_large_user_records():
    record = struct.pack("<HB8s24sIB8s24s", 5, 0, b"", "刘洋".encode(), 0, 1, b"", b"1001")
    (user,) = parse_users(table(record), count=1)
    assert (user.uid, user.user) == (5, "1001")


@pytest.mark.parametrize(
    "time",
    [TIME, TerminalTime(2000, 1, 1, 0, 0, 0), TerminalTime(2028, 2, 29, 23, 59, 59)],
)
def test_terminal_time_round_trip(time):
    assert decode_time(encode_time(time)) == time


def test_every_month_has_31_days_in_the_codec_but_not_in_the_calendar():
    with pytest.raises(ProtocolError, match="2026-02-30"):
        decode_time(encode_time(TerminalTime(2026, 2, 30, 0, 0, 0)))


def test_terminal_time_to_wall_time_and_back():
    wall = TIME.wall(utc_offset_minutes=480)
    assert wall == from_iso("2026-11-24T03:00:00+08:00")
    assert local_time(wall, utc_offset_minutes=480) == TIME
    assert TIME.text() == "2026-11-24T03:00:00"


def test_counters():
    fields = [0] * 23
    fields[4], fields[8], fields[16] = 70, 3000, 100_000
    counters = parse_counters(struct.pack("<23i", *fields))
    assert (counters.users, counters.attendances) == (70, 3000)
    assert counters.attendance_capacity == 100_000
    with pytest.raises(ProtocolError, match="too few"):
        parse_counters(bytes(67))
    fields[8] = -1
    with pytest.raises(ProtocolError, match="attendances"):
        parse_counters(struct.pack("<23i", *fields))
