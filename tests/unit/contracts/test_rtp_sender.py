import pytest

from contracts.errors import InvalidInput
from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.media.h264 import join_nals
from contracts.media.rtcp import (
    SENDER_REPORT,
    SOURCE_DESCRIPTION,
    iterate_compound,
    parse_sender_report,
)
from contracts.media.rtp import parse_rtp, unwrap_rtx
from contracts.media.rtp_sender import RtpSender, RtxNumbers, StreamNumbers, decodable_payload
from contracts.timestamps import MediaTime, WallTime, ntp_to_wall

H264 = CodecConfig(codec="h264", rate=90_000, parameter_sets=(b"\x67sps", b"\x68pps"))
PCMA = CodecConfig(codec="pcma", rate=8000)
NUMBERS = StreamNumbers(
    payload_type=98,
    ssrc=0x11223344,
    sequence=65_534,
    timestamp=0xFFFF_FFF0,
    cname="camera",
    rtx=RtxNumbers(payload_type=99, ssrc=0x55667788, sequence=7),
)


def test_packets_of_a_key_frame_fit_and_wrap() -> None:
    """Numbers wrap at 16 and 32 bits; only the last packet of a picture carries the marker."""
    sender = RtpSender(NUMBERS)
    packets = sender.packets(H264, join_nals([b"\x65" + bytes(3000)]), ticks=0x20)
    parsed = [parse_rtp(p) for p in packets]
    assert [p.sequence for p in parsed] == [65_534, 65_535, 0]
    assert {p.timestamp for p in parsed} == {0x10}
    assert [p.marker for p in parsed] == [False, False, True]
    assert max(map(len, packets)) <= 1198
    assert sender.packets_sent == 3


def test_retransmission_names_the_original() -> None:
    """RFC 4588: other SSRC, payload type and numbering; the original number leads the payload."""
    sender = RtpSender(NUMBERS)
    original = parse_rtp(sender.packets(H264, join_nals([b"\x41abc"]), ticks=0)[0])
    again = sender.retransmit(original.sequence)
    assert again is not None
    packet = parse_rtp(again)
    assert (packet.payload_type, packet.ssrc, packet.sequence) == (99, 0x55667788, 7)
    assert (packet.timestamp, packet.marker) == (original.timestamp, True)
    assert unwrap_rtx(packet.payload) == (original.sequence, original.payload)
    assert sender.retransmit(original.sequence + 1 & 0xFFFF) is None


def test_history_forgets() -> None:
    """A number that was overwritten is not answered with another packet."""
    sender = RtpSender(NUMBERS, history=4)
    first = parse_rtp(sender.packets(PCMA, b"x", ticks=0)[0]).sequence
    for tick in range(4):
        sender.packets(PCMA, b"y", ticks=tick)
    assert sender.retransmit(first) is None


def test_sender_report_carries_capture_time() -> None:
    """NTP and RTP time of one instant, in a compound with the CNAME."""
    sender = RtpSender(NUMBERS)
    wall = WallTime(1_790_000_000_123_000_000)
    report, description = iterate_compound(sender.sender_report(wall=wall, ticks=0x20))
    assert report.packet_type == SENDER_REPORT
    assert description.packet_type == SOURCE_DESCRIPTION
    assert b"camera" in description.body
    read = parse_sender_report(report)
    assert abs(ntp_to_wall(read.ntp) - wall) < 2
    assert read.rtp_timestamp == 0x10


def test_codecs_without_a_payload_format_are_refused() -> None:
    """AAC is no WebRTC codec and H.265 is not negotiated."""
    with pytest.raises(InvalidInput, match="codec"):
        RtpSender(NUMBERS).packets(CodecConfig(codec="h265", rate=90_000), b"", ticks=0)


def test_parameter_sets_are_put_before_a_key_frame_that_lacks_them() -> None:
    """And nowhere else: what the camera sent is passed on bit for bit."""

    def payload(key: bool, raw: bytes) -> bytes:
        return decodable_payload(
            AccessUnit(
                config=H264,
                key=key,
                media_time=MediaTime(0),
                captured_at=None,
                arrived_at=WallTime(0),
                payload=raw,
            )
        )

    bare = join_nals([b"\x65idr"])
    whole = join_nals([b"\x67own", b"\x68own", b"\x65idr"])
    assert payload(True, bare) == join_nals([b"\x67sps", b"\x68pps", b"\x65idr"])
    assert payload(True, whole) == whole
    assert payload(False, bare) == bare
