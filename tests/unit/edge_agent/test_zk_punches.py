from edge_agent.core.zk_punches import (
    describe_offset,
    number_live,
    number_stored,
    punch,
)
from edge_agent.core.zk_records import Attendance, TerminalTime

TIME = TerminalTime(2026, 11, 24, 9, 0, 0)


def scan(user="1001", *, direction="in", time=TIME, raw=b"\x01"):
    return Attendance(user=user, uid=1, verify="finger", direction=direction, time=time, raw=raw)


def test_the_live_and_the_stored_form_have_one_key():
    live = number_live(scan(raw=b"live"))
    (stored,) = number_stored([scan(raw=b"stored")])
    assert live.key == stored.key == "1001|2026-11-24T09:00:00|finger|in|0"


def test_equal_stored_scans_are_counted_and_others_are_not():
    keys = [n.key for n in number_stored([scan(), scan("1002"), scan(), scan(direction="out")])]
    assert [key.rsplit("|", 1)[1] for key in keys] == ["0", "0", "1", "0"]
    assert len(set(keys)) == 4


def test_a_repeated_live_event_is_the_same_punch():
    assert number_live(scan()).key == number_live(scan()).key


def test_the_wire_form_keeps_what_the_terminal_said():
    body = punch(number_live(scan(raw=b"\xab\xcd")), origin="live", offset_ms=-1200)
    assert (body.terminal_user, body.terminal_time) == ("1001", "2026-11-24T09:00:00")
    assert (body.raw, body.origin, body.terminal_offset_ms) == ("abcd", "live", -1200)


def test_an_offset_in_words():
    assert describe_offset(120_400) == "快 120 秒"
    assert describe_offset(-31_000) == "慢 31 秒"
    assert describe_offset(-3_600_000) == "慢 60 分钟"
