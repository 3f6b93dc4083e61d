import pytest

from contracts.errors import ProtocolError
from contracts.media.rtp import (
    RtpPacket,
    Unwrapper,
    is_rtcp,
    parse_rtp,
    serialize_rtp,
    signed_difference,
    unwrap_rtx,
)

PLAIN = bytes.fromhex("80e0000a 00002328 deadbeef 65 8801".replace(" ", ""))
FULL = bytes.fromhex(
    "b2 60 ffff fffffffe 01020304"  # padding, extension, 2 CSRCs
    "00000001 00000002"
    "bede 0001 10aabbcc"
    "7c85ff"
    "000003".replace(" ", "")
)


def test_plain_packet() -> None:
    packet = parse_rtp(PLAIN)
    assert packet == RtpPacket(
        payload_type=96,
        sequence=10,
        timestamp=9000,
        ssrc=0xDEADBEEF,
        marker=True,
        payload=b"\x65\x88\x01",
    )
    assert serialize_rtp(packet) == PLAIN


def test_every_option_round_trips() -> None:
    packet = parse_rtp(FULL)
    assert packet.csrcs == (1, 2)
    assert packet.extension == (0xBEDE, b"\x10\xaa\xbb\xcc")
    assert packet.payload == b"\x7c\x85\xff"
    assert packet.padding == 3
    assert packet.timestamp == 0xFFFFFFFE
    assert serialize_rtp(packet) == FULL


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        (PLAIN[:11], "rtp.header"),
        (b"\x40" + PLAIN[1:], "rtp.version"),
        (FULL[:21], "rtp.extension"),
        (FULL[:27], "rtp.extension"),
        (FULL[:-1] + b"\x07", "rtp.padding"),
        (FULL[:-1] + b"\x00", "rtp.padding"),
    ],
)
def test_cut_twins_name_the_field(octets: bytes, field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_rtp(octets)
    assert caught.value.field == field


def test_unwrapping_goes_both_ways_over_the_wrap() -> None:
    sequence = Unwrapper(16)
    assert [sequence.unwrap(n) for n in (65534, 65535, 0, 65535, 1)] == [
        65534, 65535, 65536, 65535, 65537,
    ]  # fmt: skip
    timestamp = Unwrapper(32)
    assert timestamp.unwrap(0xFFFFFFFF) == 0xFFFFFFFF
    assert timestamp.unwrap(5) == 0x100000005
    assert timestamp.unwrap(0xFFFFFFF0) == 0xFFFFFFF0


def test_signed_difference() -> None:
    assert signed_difference(3, 0xFFFFFFFF, 32) == 4
    assert signed_difference(0xFFFFFFFF, 3, 32) == -4
    assert signed_difference(0x80000000, 0, 32) == -0x80000000


def test_retransmission_and_its_cut_twin() -> None:
    assert unwrap_rtx(b"\x12\x34\x65\x01") == (0x1234, b"\x65\x01")
    with pytest.raises(ProtocolError, match="original_sequence"):
        unwrap_rtx(b"\x12")


def test_rtcp_is_told_from_rtp() -> None:
    assert is_rtcp(b"\x80\xc8\x00\x06")
    assert not is_rtcp(PLAIN)
