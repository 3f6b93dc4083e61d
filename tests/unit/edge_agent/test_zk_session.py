"""The session against the simulated terminal, back to back and without a socket."""

import struct

import pytest

from contracts.errors import Denied, ProtocolError, Unavailable
from edge_agent.core.zk_facts import (
    BackfillFailed,
    ClockRead,
    Event,
    Identified,
    LiveRefused,
    NothingNew,
    OtherEvent,
    Rubbish,
    Stored,
)
from edge_agent.core.zk_frames import Frame, FrameReader, Reply, encode
from edge_agent.core.zk_records import Attendance, TerminalTime, Unreadable
from edge_agent.core.zk_session import State, ZkOptions, ZkSession
from mingjing.simulators.zk_device import DeviceOptions, ZkDevice

NOW = 1_790_000_000_000_000_000
SECOND = 1_000_000_000


class Pair:
    """A session and a device; bytes go to and fro until both are silent."""

    def __init__(self, device: ZkDevice, options: ZkOptions | None = None) -> None:
        self.device = device
        self.session = ZkSession(options or ZkOptions(comm_key=device.options.comm_key))
        self.peer = device.open_session()
        self.reader = FrameReader()
        self.facts = []
        self.between = lambda frame: None
        self.mono = 0

    def start(self):
        self.session.start(self.mono)
        return self.run()

    def run(self, *, piece: int = 65536):
        while data := self.session.data_to_send():
            for frame in self.reader.feed(data):
                self.between(frame)
                self.give(self.device.answer(self.peer, frame, NOW), piece=piece)
        facts, self.facts = self.facts, []
        return facts

    def give(self, data: bytes, *, piece: int = 65536):
        for at in range(0, len(data), piece):
            self.mono += 1
            self.facts += self.session.receive(data[at : at + piece], self.mono)


def kinds(facts):
    return [type(fact) for fact in facts]


def texts(stored: Stored):
    return [(record.user, record.time.text(), record.direction) for record in stored.read()]


@pytest.mark.parametrize("key", [0, 1234])
def test_connects_identifies_reads_the_clock_and_what_is_stored(key):
    device = ZkDevice(options=DeviceOptions(comm_key=key, serial="A1", model="F19"))
    device.burst(3, user="1001", now=NOW)
    pair = Pair(device)
    facts = pair.start()
    assert kinds(facts) == [Identified, ClockRead, Stored]
    assert facts[0] == Identified(serial="A1", firmware=device.options.firmware, model="F19")
    assert facts[1].time == device.time(NOW)
    assert texts(facts[2])[-1] == ("1001", device.time(NOW).text(), "in")
    assert pair.session.is_idle
    assert pair.session.timer_ns is None


def test_the_transfer_is_spared_when_the_count_is_known():
    device = ZkDevice(options=DeviceOptions(capacity=4))
    device.burst(3, user="1001", now=NOW)
    pair = Pair(device)
    pair.start()
    asked = []
    pair.between = lambda frame: asked.append(frame.command)
    pair.session.backfill(1, known=3)
    assert kinds(pair.run()) == [NothingNew]
    assert 1503 not in asked
    pair.session.backfill(2, known=2)
    assert kinds(pair.run()) == [Stored]
    device.burst(1, user="1001", now=NOW)
    pair.session.backfill(3, known=4)
    assert kinds(pair.run()) == [Stored]  # full: the newest takes the place of the oldest


def test_a_wrong_key_is_denied():
    pair = Pair(ZkDevice(options=DeviceOptions(comm_key=1234)), ZkOptions(comm_key=9))
    with pytest.raises(Denied, match="communication key"):
        pair.start()


@pytest.mark.parametrize("width", [40, 16, 8])
@pytest.mark.parametrize("count", [1, 5, 4000])
def test_stored_scans_of_every_width_in_one_piece_or_many(width, count):
    users = ("1001", "1002")
    device = ZkDevice(options=DeviceOptions(record_width=width, users=users))
    device.burst(count, user="1002", now=NOW)
    (stored,) = [fact for fact in Pair(device).start() if isinstance(fact, Stored)]
    assert len(stored.read()) == count
    assert {record.user for record in stored.read()} == {"1002"}
    assert stored.capacity == 100_000


@pytest.mark.parametrize("piece", [1, 7, 16, 1000])
def test_any_split_of_the_stream_gives_the_same(piece):
    device = ZkDevice(options=DeviceOptions(comm_key=7))
    device.burst(60, user="1001", now=NOW)
    pair = Pair(device)
    pair.session.start(0)
    facts = pair.run(piece=piece)
    assert [fact for fact in facts if isinstance(fact, Stored)] == [
        fact for fact in Pair(device).start() if isinstance(fact, Stored)
    ]


@pytest.mark.parametrize("count", range(1, 51))
def test_fifty_events_in_one_segment_are_fifty_events(count):
    device = ZkDevice(options=DeviceOptions())
    pair = Pair(device)
    pair.start()
    scans = device.burst(count, user="1001", now=NOW)
    pair.give(b"".join(map(device.event, scans)))
    events = [fact for fact in pair.facts if isinstance(fact, Event)]
    assert [event.records[0].time for event in events] == [scan.time for scan in scans]
    assert pair.peer.acknowledged == 0
    for event in events:
        pair.session.acknowledge(event)
    pair.run()
    assert pair.peer.acknowledged == count


def test_events_between_the_pieces_of_a_table_are_kept():
    device = ZkDevice(options=DeviceOptions())
    device.burst(3000, user="1001", now=NOW)
    pair = Pair(device)
    live = device.event(device.scans[0])
    pair.between = lambda frame: pair.give(live) if frame.command == 1504 else None
    facts = pair.start()
    assert kinds(facts).count(Event) == 2
    assert kinds(facts)[-1] is Stored


def test_a_scan_during_the_transfer_makes_it_read_again():
    device = ZkDevice(options=DeviceOptions())
    device.burst(5, user="1001", now=NOW)
    pair = Pair(device)
    late = iter([True])

    def scan(frame):
        if frame.command == 1503 and next(late, False):
            device.scan("1001", now=NOW)

    pair.between = scan
    (stored,) = [fact for fact in pair.start() if isinstance(fact, Stored)]
    assert len(stored.read()) == 6


def test_a_table_that_never_stands_still_is_given_up_and_the_session_lives():
    device = ZkDevice(options=DeviceOptions())
    device.burst(5, user="1001", now=NOW)
    pair = Pair(device)
    pair.between = lambda frame: device.scan("1001", now=NOW) if frame.command == 1503 else None
    facts = pair.start()
    assert kinds(facts)[-1] is BackfillFailed
    assert pair.session.is_idle


def test_an_old_terminal_without_buffer_is_read_directly():
    class Old(ZkDevice):
        def answer(self, session, frame, now):
            if frame.command == 1503:
                return encode(
                    Frame(command=Reply.UNKNOWN, session=session.number, reply=frame.reply)
                )
            return super().answer(session, frame, now)

    device = Old(options=DeviceOptions(record_width=16))
    device.burst(9, user="1001", now=NOW)
    (stored,) = [fact for fact in Pair(device).start() if isinstance(fact, Stored)]
    assert len(stored.read()) == 9


def test_a_terminal_that_refuses_live_events_is_still_read():
    device = ZkDevice(options=DeviceOptions(), refuses_live=True)
    assert kinds(Pair(device).start()) == [Identified, ClockRead, LiveRefused, Stored]


@pytest.mark.parametrize("width", [10, 14])
def test_events_with_internal_numbers_wait_for_the_users(width):
    options = DeviceOptions(event_width=width, record_width=16, users=("77", "1002"))
    device = ZkDevice(options=options)
    pair = Pair(device)
    pair.start()
    first = device.scan("1002", now=NOW)
    pair.give(device.event(first))
    facts = pair.run()
    assert kinds(facts) == [Stored]
    second = device.scan("1002", direction="out", now=NOW + SECOND)
    pair.give(device.event(second))
    (event,) = pair.run()
    assert isinstance(event, Event)
    assert event.records[0].user == "1002"


def test_other_events_are_acknowledged_and_told():
    device = ZkDevice(options=DeviceOptions())
    pair = Pair(device)
    pair.start()
    pair.give(encode(Frame(command=500, session=512, reply=0, data=b"\x37\0\0\0")))
    assert pair.run() == [OtherEvent(code=512, data=b"\x37\0\0\0")]
    assert pair.peer.acknowledged == 1


def test_an_event_of_unknown_width_is_told_as_unreadable():
    pair = Pair(ZkDevice(options=DeviceOptions()))
    pair.start()
    pair.give(encode(Frame(command=500, session=1, reply=0, data=b"\1" * 9)))
    (event,) = pair.facts
    assert isinstance(event.records[0], Unreadable)


def test_rubbish_between_frames_is_counted_and_costs_no_event():
    device = ZkDevice(options=DeviceOptions())
    pair = Pair(device)
    pair.start()
    scan = device.scan("1001", now=NOW)
    pair.give(b"rubbish" + device.event(scan))
    assert kinds(pair.facts) == [Event, Rubbish]
    assert pair.facts[1].skipped == 7


def test_clock_is_polled_and_set_only_on_request():
    device = ZkDevice(options=DeviceOptions(), clock_offset_s=90)
    pair = Pair(device)
    pair.start()
    pair.session.poll_clock(5)
    (read,) = pair.run()
    assert read.time == device.time(NOW)
    assert read.asked_ns == 5
    assert device.clock_offset_s == 90
    pair.session.set_clock(TerminalTime(2026, 11, 24, 3, 0, 0), pair.mono)
    pair.run()
    assert device.time(NOW) == TerminalTime(2026, 11, 24, 3, 0, 0)


def test_a_reply_that_does_not_come_is_noticed_at_its_deadline():
    session = ZkSession(ZkOptions(reply_ns=SECOND))
    session.start(100)
    session.handle_timer(SECOND)
    assert session.timer_ns == SECOND + 100
    with pytest.raises(Unavailable, match="CONNECT"):
        session.handle_timer(SECOND + 100)


def test_questions_that_pile_up_are_asked_one_after_the_other():
    device = ZkDevice(options=DeviceOptions())
    pair = Pair(device)
    pair.start()
    pair.session.poll_clock(1)
    pair.session.backfill(2)
    pair.session.backfill(3)
    assert kinds(pair.run()) == [ClockRead, Stored]


def test_a_record_table_larger_than_any_terminal_is_refused():
    session = ZkSession(ZkOptions())
    session.start(0)
    reader = FrameReader()
    counters = [0] * 23
    counters[8] = 5
    replies = {
        50: struct.pack("<23i", *counters),
        201: bytes(4),
        1503: b"\0" + struct.pack("<I", 1 << 31),
    }
    with pytest.raises(ProtocolError, match="table"):
        while data := session.data_to_send():
            for frame in reader.feed(data):
                data = replies.get(frame.command, b"")
                answer = Frame(command=Reply.OK, session=1, reply=frame.reply, data=data)
                session.receive(encode(answer), 0)


def test_leaves_politely():
    device = ZkDevice(options=DeviceOptions())
    pair = Pair(device)
    pair.start()
    pair.session.close()
    (frame,) = FrameReader().feed(pair.session.data_to_send())
    assert frame.command == 1001
    assert pair.session.state is State.CLOSED


def test_the_scan_is_kept_as_it_came():
    device = ZkDevice(options=DeviceOptions())
    pair = Pair(device)
    pair.start()
    scan = device.scan("1001", direction="out", verify="face", now=NOW)
    pair.give(device.event(scan))
    (event,) = pair.facts
    (record,) = event.records
    assert isinstance(record, Attendance)
    assert (record.direction, record.verify) == ("out", "face")
    assert record.raw == device.event(scan)[16:]


def test_every_state_that_asks_has_its_row():
    silent = {State.IDLE, State.LIVE, State.CLOSED}
    assert set(ZkSession._TABLE) == set(State) - silent
    assert {row.refused for row in ZkSession._TABLE.values()} <= {None, *State}
