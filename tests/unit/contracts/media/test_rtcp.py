import pytest

from contracts.errors import ProtocolError
from contracts.media.rtcp import (
    ReportBlock,
    SenderReport,
    build_nack,
    build_picture_loss,
    build_receiver_report,
    build_sender_report,
    iterate_compound,
    parse_nack,
    parse_picture_loss,
    parse_receiver_report,
    parse_sender_report,
    sender_reports,
)

SR = bytes.fromhex("80c80006 00000007 eccc9ad280000000 00015f90 00000064 00002710".replace(" ", ""))
NACK = bytes.fromhex("81cd0004 00000001 00000002 fffe000b 00640000".replace(" ", ""))
PLI = bytes.fromhex("81ce0002 00000001 00000002".replace(" ", ""))


def test_sender_report_bytes() -> None:
    report = SenderReport(
        ssrc=7, ntp=0xECCC9AD280000000, rtp_timestamp=90000, packets=100, octets=10000
    )
    assert build_sender_report(report) == SR
    assert sender_reports(SR) == [report]


def test_compound_is_walked_in_order() -> None:
    packets = list(iterate_compound(SR + NACK + PLI))
    assert [packet.packet_type for packet in packets] == [200, 205, 206]
    assert parse_nack(packets[1]) == (2, [0xFFFE, 0xFFFF, 0, 2, 100])
    assert parse_picture_loss(packets[2]) == 2


def test_feedback_bytes() -> None:
    assert build_nack(1, 2, [0xFFFE, 0xFFFF, 0, 2, 100]) == NACK
    assert build_picture_loss(1, 2) == PLI


def test_receiver_report_round_trips_a_negative_loss() -> None:
    block = ReportBlock(
        ssrc=9,
        fraction_lost=128,
        cumulative_lost=-3,
        highest_sequence=0x10005,
        jitter=11,
        last_report=0x9AD28000,
        delay_since_last=65536,
    )
    octets = build_receiver_report(5, [block])
    assert octets[:4] == bytes.fromhex("81c90007")
    assert parse_receiver_report(next(iterate_compound(octets))) == (5, [block])


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        (SR[:2], "rtcp.header"),
        (SR[:-1], "rtcp.length"),
        (b"\x00" + SR[1:], "rtcp.version"),
        (b"\xa0\xc8\x00\x00", "rtcp.padding"),
        (b"\x80\xc8\x00\x01\0\0\0\1", "rtcp.sender_report"),
    ],
)
def test_cut_twins_name_the_field(octets: bytes, field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        sender_reports(octets)
    assert caught.value.field == field


def test_wrong_kinds_are_refused() -> None:
    pli = next(iterate_compound(PLI))
    for parse in (parse_nack, parse_sender_report, parse_receiver_report):
        with pytest.raises(ProtocolError):
            parse(pli)
    with pytest.raises(ProtocolError, match="31"):
        build_receiver_report(
            1,
            [ReportBlock(ssrc=n, fraction_lost=0, cumulative_lost=0, highest_sequence=0, jitter=0)
             for n in range(32)],
        )  # fmt: skip
