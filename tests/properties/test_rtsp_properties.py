"""An RTSP stream means the same however the network splits it, and nonsense never breaks us."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import MingjingError
from edge_agent.core.rtsp_auth import choose_challenge
from edge_agent.core.rtsp_session import RtspSession, parse_camera_url
from edge_agent.core.rtsp_wire import RtspMessage, RtspParser

rtp = st.binary(max_size=300).map(lambda body: b"\x80" + body)
frames = st.tuples(st.integers(0, 3), rtp).map(
    lambda pair: b"$" + bytes((pair[0],)) + len(pair[1]).to_bytes(2, "big") + pair[1]
)
bodies = st.binary(max_size=100)
responses = st.tuples(st.integers(100, 599), bodies).map(
    lambda pair: (
        f"RTSP/1.0 {pair[0]} Whatever\r\nCSeq: 1\r\ncontent-length: {len(pair[1])}\r\n\r\n".encode()
        + pair[1]
    )
)
requests = st.sampled_from([b"OPTIONS * RTSP/1.0\r\nCSeq: 4\r\n\r\n"])
streams = st.lists(frames | responses | requests, max_size=12).map(b"".join)
nonsense = st.lists(
    st.binary(max_size=50)
    | frames
    | responses
    | st.sampled_from([b"$", b"RTSP/1.0 ", b"\r\n\r\n"]),
    max_size=10,
).map(b"".join)
cuts = st.lists(st.integers(0, 3000), max_size=30)


def _parse(pieces: list[bytes]) -> tuple[list[RtspMessage], list[tuple[int, bytes]], str]:
    packets: list[tuple[int, bytes]] = []
    messages: list[RtspMessage] = []
    parser = RtspParser(lambda channel, packet: packets.append((channel, packet)))
    parser.channels |= {0, 1, 2, 3}
    try:
        for piece in pieces:
            messages += parser.feed(piece)
    except MingjingError as exc:
        return messages, packets, str(exc)
    return messages, packets, ""


def _cut(stream: bytes, at: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut for cut in at if cut < len(stream)), len(stream)]
    return [stream[left:right] for left, right in pairwise(marks)]


@given(streams, cuts)
def test_any_split_gives_the_same(stream: bytes, at: list[int]) -> None:
    whole = _parse([stream])
    assert _parse(_cut(stream, at)) == whole
    assert whole[2] == ""
    assert _parse([bytes((octet,)) for octet in stream]) == whole


@given(nonsense, cuts)
def test_any_split_of_nonsense_gives_the_same_packets(stream: bytes, at: list[int]) -> None:
    assert _parse(_cut(stream, at))[1] == _parse([stream])[1]


@given(st.lists(st.binary(max_size=200), max_size=5), st.text(max_size=100))
def test_a_session_meets_anything_with_one_of_our_errors(pieces: list[bytes], header: str) -> None:
    session = RtspSession(
        parse_camera_url("rtsp://cam/x"), credentials=None, cnonce="", on_packet=lambda *_: None
    )
    session.start(0)
    head = f"RTSP/1.0 200 OK\r\nCSeq: 1\r\nWWW-Authenticate: {header}\r\n".encode()
    try:
        for piece in [head, *pieces]:
            session.receive(piece)
    except MingjingError as exc:
        assert str(exc)
    choose_challenge([header])
