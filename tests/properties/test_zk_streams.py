"""Whatever a terminal sends, and however it is cut: the same facts, or a ProtocolError."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Denied, ProtocolError
from edge_agent.core.zk_facts import Event
from edge_agent.core.zk_frames import Frame, FrameReader, encode
from edge_agent.core.zk_records import (
    attendance_width,
    parse_attendance,
    parse_counters,
    parse_event,
    parse_users,
)
from edge_agent.core.zk_session import ZkOptions, ZkSession
from mingjing.simulators.zk_device import DeviceOptions, ZkDevice

NOW = 1_790_000_000_000_000_000
frames = st.builds(
    Frame,
    command=st.integers(0, 0xFFFF),
    session=st.integers(0, 0xFFFF),
    reply=st.integers(0, 0xFFFF),
    data=st.binary(max_size=80),
)
rubbish = st.binary(max_size=30).filter(lambda raw: b"P" not in raw)


def pieces(draw, stream: bytes) -> list[bytes]:
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=20))
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@given(st.data(), st.lists(st.tuples(rubbish, frames), max_size=50))
def test_every_split_gives_the_same_frames(data, sent):
    stream = b"".join(noise + encode(frame) for noise, frame in sent)
    reader = FrameReader()
    got = [frame for piece in pieces(data.draw, stream) for frame in reader.feed(piece)]
    assert got == [frame for _, frame in sent]
    assert reader.skipped == sum(len(noise) for noise, _ in sent)


@given(st.data(), st.integers(1, 50), st.sampled_from([12, 32, 36, 37, 52]))
def test_every_split_of_a_burst_gives_the_same_events(data, count, width):
    device = ZkDevice(options=DeviceOptions(event_width=width))
    scans = device.burst(count, user="1001", now=NOW)
    session = ZkSession(ZkOptions())
    facts = [
        fact
        for piece in pieces(data.draw, b"".join(map(device.event, scans)))
        for fact in session.receive(piece, 0)
    ]
    assert [fact.records[0].time for fact in facts if isinstance(fact, Event)] == [
        scan.time for scan in scans
    ]


@given(st.lists(st.one_of(st.binary(max_size=200), st.builds(encode, frames)), max_size=40))
def test_any_bytes_give_facts_or_a_named_error(chunks):
    session = ZkSession(ZkOptions(comm_key=3))
    session.start(0)
    for chunk in chunks:
        session.data_to_send()
        try:
            session.receive(chunk, 1)
        except (ProtocolError, Denied):
            return


@given(st.data(), st.lists(st.binary(max_size=120), min_size=12, max_size=40))
def test_a_terminal_that_lies_in_every_answer_breaks_nothing(data, lies):
    """Answers with the right numbers and false contents, so that every state is reached."""
    session = ZkSession(ZkOptions())
    session.start(0)
    reader = FrameReader()
    for lie in lies:
        for frame in reader.feed(session.data_to_send()):
            code = data.draw(st.sampled_from([2000, 2000, 2000, 1500, 1501, 2001, 0xFFFF]))
            body = data.draw(st.sampled_from([lie, bytes(4), bytes(92), b"\0" * 16 + lie]))
            answer = Frame(command=code, session=1, reply=frame.reply, data=body)
            try:
                session.receive(encode(answer), 1)
            except ProtocolError:
                return


@given(st.binary(max_size=400), st.integers(-5, 20))
def test_any_bytes_give_records_or_a_protocol_error(raw, count):
    for parse in (
        lambda: parse_event(raw),
        lambda: attendance_width(raw, count=count),
        lambda: attendance_width(len(raw).to_bytes(4, "little") + raw, count=count),
        lambda: parse_attendance(len(raw).to_bytes(4, "little") + raw, width=40),
        lambda: parse_attendance(raw, width=8),
        lambda: parse_users(raw, count=count),
        lambda: parse_users(len(raw).to_bytes(4, "little") + raw, count=count),
        lambda: parse_counters(raw),
    ):
        try:
            parse()
        except ProtocolError as exc:
            assert exc.field
