import re

import pytest

from contracts.errors import Conflict, InvalidInput, ProtocolError, Unavailable
from contracts.timestamps import NS
from edge_agent.core.rtsp_auth import (
    Credentials,
    authorization,
    choose_challenge,
)
from edge_agent.core.rtsp_session import (
    TRANSITIONS,
    RequestRefused,
    RtspSession,
    State,
    parse_camera_url,
    parse_transport,
)
from edge_agent.core.rtsp_wire import MOST_NONSENSE_BYTES, RtspParser

SDP = (
    "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
    "m=audio 0 RTP/AVP 8\r\na=control:rtsp://10.0.0.9/odd/trackID=1\r\n"
)
URL = "rtsp://cam:554/live?channel=1"
RTP = b"\x80\x60\x00\x01" + bytes(8) + b"\x65"


def reply(
    session: RtspSession, *headers: str, status: str = "200 OK", body: str = "", split: int = 0
) -> None:
    """Answer the request that was sent last, optionally in pieces of `split` octets."""
    octets = "\r\n".join(
        [f"RTSP/1.0 {status}", f"CSeq: {session._cseq}", *headers]
        + ([f"Content-Length: {len(body)}"] if body else [])
    ).encode()
    octets += b"\r\n\r\n" + body.encode()
    step = split or len(octets)
    for at in range(0, len(octets), step):
        session.receive(octets[at : at + step])


class Talk:
    """A session and what it sent."""

    def __init__(self, url: str = URL, credentials: Credentials | None = None, **more) -> None:
        self.packets: list[tuple[int, bytes]] = []
        self.session = RtspSession(
            parse_camera_url(url),
            credentials=credentials,
            cnonce="c0ffee",
            on_packet=lambda channel, packet: self.packets.append((channel, packet)),
            **more,
        )

    def sent(self) -> str:
        return self.session.octets_to_send().decode()

    def to_described(self, **described) -> "Talk":
        self.session.start(0)
        reply(self.session, "Public: OPTIONS, GET_PARAMETER")
        reply(self.session, *described.get("headers", ()), body=SDP)
        return self

    def to_playing(self, timeout: int = 60) -> "Talk":
        self.to_described()
        self.session.setup(0, "RTP/AVP/TCP;unicast;interleaved=0-1")
        reply(
            self.session,
            f"Session: 12AB;timeout={timeout}",
            "Transport: RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=0000002A",
        )
        self.session.play()
        reply(self.session, "Session: 12AB")
        self.sent()
        return self


def test_a_whole_session_byte_for_byte() -> None:
    talk = Talk()
    session = talk.session
    session.start(0)
    assert talk.sent() == f"OPTIONS {URL} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: mingjing\r\n\r\n"
    reply(session, "Public: OPTIONS, DESCRIBE, GET_PARAMETER", split=1)
    assert talk.sent() == (
        f"DESCRIBE {URL} RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: mingjing\r\n"
        "Accept: application/sdp\r\n\r\n"
    )
    reply(session, "Content-Base: rtsp://cam:554/live/", "Server: Cam/1.2", body=SDP, split=1)
    assert session.state is State.DESCRIBED
    assert session.server == "Cam/1.2"
    session.setup(0, "RTP/AVP/TCP;unicast;interleaved=0-1")
    assert talk.sent().startswith("SETUP rtsp://cam:554/live/trackID=0 RTSP/1.0\r\n")
    reply(session, "Session: 12AB;timeout=30", "Transport: RTP/AVP/TCP;unicast;interleaved=4-5")
    session.setup(1, "RTP/AVP/TCP;unicast;interleaved=2-3")
    assert talk.sent().startswith("SETUP rtsp://10.0.0.9/odd/trackID=1 RTSP/1.0\r\n")
    reply(session, "Session: 12AB", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3")
    assert (session.tracks[0].channel, session.tracks[1].channel) == (4, 2)
    session.play()
    assert talk.sent() == (
        "PLAY rtsp://cam:554/live/ RTSP/1.0\r\nCSeq: 5\r\nUser-Agent: mingjing\r\n"
        "Session: 12AB\r\nRange: npt=0.000-\r\n\r\n"
    )
    reply(session, "Session: 12AB")
    assert session.state is State.PLAYING
    session.receive(b"$\x04\x00\x0d" + RTP + b"$\x09")
    assert talk.packets == [(4, RTP)]
    session.teardown()
    assert talk.sent().startswith("TEARDOWN rtsp://cam:554/live/ RTSP/1.0")
    assert session.state is State.CLOSED


def test_control_is_joined_behind_a_query() -> None:
    talk = Talk().to_described()
    talk.sent()
    talk.session.setup(0, "RTP/AVP;unicast;client_port=5000-5001")
    assert talk.sent().startswith(f"SETUP {URL}/trackID=0 RTSP/1.0")
    reply(talk.session, "Session: 1", "Transport: RTP/AVP;unicast;server_port=6000-6001;ssrc=xyz")
    track = talk.session.tracks[0]
    assert (track.server_ports, track.channel, track.ssrc) == ((6000, 6001), None, None)


def test_the_table_reaches_every_state_and_leaves_none_but_closed() -> None:
    reached = {State.NEW}
    while True:
        more = {s for (at, _), to in TRANSITIONS.items() if at in reached for s in to} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)


def test_requests_out_of_turn_are_conflicts() -> None:
    talk = Talk()
    with pytest.raises(Conflict):
        talk.session.setup(0, "x")
    with pytest.raises(Conflict, match="PLAY"):
        talk.session.play()
    talk.session.start(0)
    with pytest.raises(Conflict, match="OPTIONS"):
        talk.session.start(0)


def test_keep_alive_before_the_timeout() -> None:
    talk = Talk().to_playing(timeout=30)
    talk.session.poll(11 * NS)
    assert talk.sent() == ""
    talk.session.poll(12 * NS)
    assert talk.sent().startswith("GET_PARAMETER ")
    reply(talk.session, status="501 Not Implemented")
    talk.session.poll(24 * NS)
    assert talk.sent().startswith("OPTIONS ")
    with pytest.raises(RequestRefused) as caught:
        reply(talk.session, status="454 Session Not Found")
    assert caught.value.status == 454


def test_silence_ends_the_session_only_before_media() -> None:
    talk = Talk()
    talk.session.start(0)
    talk.session.poll(9 * NS)
    with pytest.raises(Unavailable, match="OPTIONS"):
        talk.session.poll(10 * NS)
    playing = Talk().to_playing()
    for second in range(100):
        playing.session.poll(second * NS)
    assert playing.sent().count("GET_PARAMETER") >= 3


@pytest.mark.parametrize("status", [404, 453, 503, 302])
def test_refusals_carry_their_status(status: int) -> None:
    talk = Talk()
    talk.session.start(0)
    reply(talk.session)
    with pytest.raises(RequestRefused) as caught:
        reply(talk.session, "Location: rtsp://elsewhere/", status=f"{status} No")
    assert caught.value.status == status
    assert talk.sent().count("elsewhere") == 0


def test_a_camera_without_options_is_still_described() -> None:
    talk = Talk()
    talk.session.start(0)
    talk.sent()
    reply(talk.session, status="405 Method Not Allowed")
    assert talk.sent().startswith("DESCRIBE")


def test_digest_is_answered_once_and_again_only_when_stale() -> None:
    talk = Talk(credentials=Credentials("u", "p"))
    session = talk.session
    session.start(0)
    reply(session)
    talk.sent()
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="{}"'
    reply(session, challenge.format("n1"), 'WWW-Authenticate: Basic realm="r"', status="401 No")
    first = talk.sent()
    assert 'nonce="n1"' in first
    assert 'username="u"' in first
    reply(session, challenge.format("n2") + ", stale=true", status="401 No")
    assert 'nonce="n2"' in talk.sent()
    with pytest.raises(RequestRefused) as caught:
        reply(session, challenge.format("n3"), status="401 No")
    assert caught.value.status == 401


def test_a_new_nonce_for_a_later_request_is_taken() -> None:
    talk = Talk(credentials=Credentials("u", "p")).to_described()
    talk.session.setup(0, "RTP/AVP/TCP;unicast;interleaved=0-1")
    talk.sent()
    reply(talk.session, 'WWW-Authenticate: Digest realm="r", nonce="n9"', status="401 No")
    assert 'nonce="n9"' in talk.sent()


def test_without_credentials_401_is_final_and_secrets_stay_out() -> None:
    talk = Talk()
    talk.session.start(0)
    with pytest.raises(RequestRefused):
        reply(talk.session, 'WWW-Authenticate: Basic realm="r"', status="401 No")
    camera = parse_camera_url("rtsp://us%40er:pa%3Ass@cam/x?y=1")
    assert camera.url == "rtsp://cam:554/x?y=1"
    assert camera.credentials == Credentials("us@er", "pa:ss")
    assert "pa:ss" not in repr(camera)


@pytest.mark.parametrize(
    "url", ["http://cam/x", "rtsp:///x", "rtsp://cam:99999/x", "rtsp://cam/a b", "", "cam"]
)
def test_bad_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_camera_url(url)
    assert caught.value.field == "url"


def test_digest_vectors_of_the_rfc() -> None:
    # RFC 7616 section 3.9.1, both algorithms
    common = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={},'
        ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",'
        ' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    expected = {
        "MD5": "8ca523f5e9506fed4657c9700eebdbec",
        "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }
    for algorithm, response in expected.items():
        challenge = choose_challenge([common.format(algorithm)])
        assert challenge is not None
        header = authorization(
            challenge,
            Credentials("Mufasa", "Circle of Life"),
            method="GET",
            uri="/dir/index.html",
            nonce_count=1,
            cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        assert f'response="{response}"' in header
        assert "nc=00000001" in header


def test_the_strongest_challenge_is_chosen() -> None:
    headers = [
        'Basic realm="b"',
        'Digest realm="m", nonce="1"',
        'Digest realm="s", nonce="2", algorithm=SHA-256',
        "Digest broken",
        'Negotiate x="y"',
    ]
    chosen = choose_challenge(headers)
    assert chosen is not None
    assert chosen.realm == "s"
    assert choose_challenge(headers[3:]) is None


@pytest.mark.parametrize("header", ["", "RTP/AVP;unicast", "interleaved=x", "interleaved=255-256"])
def test_bad_transports_name_the_field(header: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_transport(header)
    assert caught.value.field == "rtsp.transport"


def parser() -> tuple[RtspParser, list[bytes]]:
    packets: list[bytes] = []
    made = RtspParser(lambda _channel, packet: packets.append(packet))
    made.channels |= {0, 1}
    return made, packets


def test_nonsense_between_packets_is_skipped() -> None:
    made, packets = parser()
    frame = b"$\x00\x00\x0d" + RTP
    made.feed(frame + b"rubbish$\x07\x00\x01x" + frame)
    assert packets == [RTP, RTP]
    assert made.skipped == 12


def test_endless_nonsense_is_given_up() -> None:
    made, _ = parser()
    with pytest.raises(ProtocolError, match=r"rtsp\.stream"):
        for _ in range(MOST_NONSENSE_BYTES // 1000 + 2):
            made.feed(b"\x00" * 1000)


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        (b"RTSP/1.0 OK\r\n\r\n", "rtsp.status"),
        (b"RTSP/1.0 99 OK\r\n\r\n", "rtsp.status"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 999999999\r\n\r\n", "rtsp.content-length"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", "rtsp.content-length"),
        (b"RTSP/1.0 200 OK\r\nX: " + b"y" * 70_000, "rtsp.head"),
    ],
)
def test_malformed_messages_name_the_field(octets: bytes, field: str) -> None:
    made, _ = parser()
    with pytest.raises(ProtocolError) as caught:
        made.feed(octets)
    assert caught.value.field == field


def test_requests_of_the_server_are_answered() -> None:
    talk = Talk().to_playing()
    talk.session.receive(b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n")
    talk.session.receive(b"ANNOUNCE rtsp://x RTSP/1.0\r\nCSeq: 8\r\n\r\n")
    assert re.findall(r"RTSP/1.0 (\d+) .*\r\nCSeq: (\d)", talk.sent()) == [
        ("200", "7"),
        ("501", "8"),
    ]
