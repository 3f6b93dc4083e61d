from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.media.h264 import join_nals
from contracts.media.rtcp import (
    build_nack,
    build_picture_loss,
    iterate_compound,
    parse_receiver_report,
    sender_reports,
)
from contracts.media.rtp import parse_rtp
from contracts.media.rtp_receiver import RtpReceiver
from contracts.media.rtp_sender import StreamNumbers
from contracts.timestamps import NS, NS_PER_MS, MediaTime, WallTime
from edge_agent.core.outgoing import OutgoingStreams, TrackTime

SPS = bytes.fromhex("6742c01ed900a0047fe5c05a808080a0000003002000000651e2c5c900")
PPS = bytes.fromhex("68cb83cb20")
VIDEO = CodecConfig(codec="h264", rate=90_000, parameter_sets=(SPS, PPS))
T0 = 1_790_000_000 * NS
NUMBERS = {"h264": StreamNumbers(payload_type=98, ssrc=7, sequence=0, timestamp=0xFFFFFF00)}


def unit(number: int, *, captured: int | None = 0, delay_ms: int = 0) -> AccessUnit:
    arrived = T0 + number * 40 * NS_PER_MS + delay_ms * NS_PER_MS
    return AccessUnit(
        config=VIDEO,
        key=True,
        media_time=MediaTime(3600 * number),
        captured_at=None if captured is None else WallTime(arrived - captured),
        arrived_at=WallTime(arrived),
        payload=join_nals([SPS, PPS, b"\x65" + bytes([number % 256])]),
    )


class Session:
    """One session with everything it sent."""

    def __init__(self, times: dict[str, TrackTime] | None = None) -> None:
        self.rtcp: list[bytes] = []
        self.streams = OutgoingStreams(
            NUMBERS, {} if times is None else times, ssrc=1, send_rtcp=self.rtcp.append
        )


def test_a_receiver_gets_the_units_with_their_capture_times() -> None:
    """Two cores back to back, over a wrap of the RTP timestamp; the first unit is dated too."""
    session, got = Session(), []
    receiver = RtpReceiver("h264", 90_000, got.append)
    for number in range(3):
        packets = session.streams.packets(unit(number, captured=30 * NS_PER_MS), 1)
        for report in session.rtcp:
            for one in sender_reports(report):
                receiver.sender_report(one.ntp, one.rtp_timestamp)
        for packet in packets:
            receiver.datagram(packet, now=WallTime(0), mono_ns=0)
    assert [u.payload for u in got] == [unit(n).payload for n in range(3)]
    assert [round((u.captured_at - T0) / NS_PER_MS) for u in got] == [-30, 10, 50]


def test_without_the_cameras_word_the_least_delayed_arrival_counts() -> None:
    """A unit that came late is not thereby captured late."""
    session = Session()
    for number, delay in enumerate([5, 200, 170]):
        session.streams.packets(unit(number, captured=None, delay_ms=delay), 1)
    session.streams.report()
    last = sender_reports(session.rtcp[-1])[0]
    again = RtpReceiver("h264", 90_000, lambda _unit: None)
    again.sender_report(last.ntp, last.rtp_timestamp)
    assert last.rtp_timestamp == (0xFFFFFF00 + 7200) & 0xFFFFFFFF
    assert abs(_wall(last.ntp) - (T0 + 85 * NS_PER_MS)) < NS_PER_MS


def _wall(ntp: int) -> int:
    return ((ntp >> 32) - 2_208_988_800) * NS + ((ntp & 0xFFFFFFFF) * NS >> 32)


def test_time_goes_on_when_the_camera_starts_anew() -> None:
    """Neither a new session of the camera nor one with the gateway sends time back."""
    times: dict[str, TrackTime] = {}
    first, second = Session(times), Session(times)
    stamps = []
    for session, number, of in ((first, 100, 1), (first, 3, 2), (second, 4, 2)):
        (*_, packet) = session.streams.packets(unit(number), of)
        stamps.append((parse_rtp(packet).timestamp - 0xFFFFFF00) & 0xFFFFFFFF)
    assert stamps[0] == 0
    assert stamps == sorted(stamps)
    assert stamps[2] - stamps[1] == 3600


def test_feedback_is_answered() -> None:
    """Lost packets go out again; wishes for a key frame are counted; strangers' numbers are not."""
    session = Session()
    packets = session.streams.packets(unit(0), 1)
    wanted = parse_rtp(packets[1]).sequence
    compound = build_nack(1, 7, [wanted]) + build_picture_loss(1, 7)
    assert session.streams.feedback(compound) == [packets[1]]
    assert session.streams.feedback(build_nack(1, 8, [wanted])) == []
    assert session.streams.key_frames_wanted == 1


def test_silence_is_not_absence() -> None:
    """Before there is media the gateway hears an empty report each second."""
    session = Session()
    session.streams.report()
    (packet,) = iterate_compound(session.rtcp[0])
    assert parse_receiver_report(packet) == (1, [])


def test_codecs_the_gateway_did_not_take_are_not_sent() -> None:
    """A camera with a microphone can publish to a gateway without sound."""
    session = Session()
    sound = AccessUnit(
        config=CodecConfig(codec="pcma", rate=8000),
        key=True,
        media_time=MediaTime(0),
        captured_at=None,
        arrived_at=WallTime(T0),
        payload=b"x",
    )
    assert session.streams.packets(sound, 1) == []
