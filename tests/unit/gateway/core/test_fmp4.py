"""Boxes are built byte for byte, read back, and refused when cut."""

import pytest

from contracts.errors import InvalidInput, ProtocolError
from contracts.media.access_unit import CodecConfig
from gateway.core.fmp4 import (
    Sample,
    codec_name,
    init_length,
    init_segment,
    part_header,
    part_trailer,
    whole_fragments,
)
from tests.synthetic_units import AUDIO, VIDEO, nal

WALL = 1_790_000_000_123_456_789
SAMPLES = (Sample(3600, 24, key=True), Sample(3601, 9, key=False))

PART_HEADER = bytes.fromhex(
    "00000020 70726674 01000018 00000001 ee5bba00 1f9add38 0000000000015f90"  # prft
    "00000070 6d6f6f66"
    "00000010 6d666864 00000000 00000007"
    "00000058 74726166"
    "00000010 74666864 00020000 00000001"
    "00000014 74666474 01000000 0000000000015f90"
    "0000002c 7472756e 01000701 00000002 00000078"
    "00000e10 00000018 02000000 00000e11 00000009 01010000"
    "00000029 6d646174".replace(" ", "")
)


def _part(samples=SAMPLES, *, sequence: int = 7, decode_time: int = 90_000) -> bytes:
    header = part_header(samples, sequence=sequence, decode_time=decode_time, wall_ns=WALL)
    octets = header + b"".join(nal(sample.size - 4) for sample in samples)
    return octets + part_trailer(octets)


def test_a_part_header_is_exactly_these_octets():
    header = part_header(SAMPLES, sequence=7, decode_time=90_000, wall_ns=WALL)
    assert header.hex(" ", 4) == PART_HEADER.hex(" ", 4)


def test_the_trailer_is_a_free_box_with_the_crc_of_the_part():
    """CRC-32 of "123456789" is cbf43926 (the check value of ISO 3309)."""
    assert part_trailer(b"123456789").hex() == "0000001066726565" + "4d4a6331" + "cbf43926"


def test_avc_configuration_record_is_exactly_these_octets():
    """ISO 14496-15, section 5.3.3.1.2, for one SPS and one PPS of the Baseline profile."""
    expected = "0142c00cffe100086742c00cda0507e801000468ce3c80"
    record = init_segment(VIDEO).partition(b"avcC")[2][:23]
    assert record.hex() == expected


def test_high_profile_carries_chroma_and_depth():
    sps = bytes.fromhex("67640028acd940780227e5c05a808080a0000003002000000641e30632c0")
    config = CodecConfig(
        codec="h264", rate=90_000, parameter_sets=(sps, b"\x68\xeb\xe3\xcb\x22\xc0")
    )
    record = init_segment(config).partition(b"avcC")[2]
    assert record[6 + 2 + len(sps) + 1 + 2 + 6 :][:4].hex() == "fdf8f800"


@pytest.mark.parametrize(
    ("config", "entry", "name"),
    [
        (AUDIO, b"alaw", "alaw"),
        (CodecConfig(codec="pcmu", rate=8000, channels=1), b"ulaw", "ulaw"),
        (CodecConfig(codec="opus", rate=48_000, channels=2), b"dOps", "opus"),
        (
            CodecConfig(codec="aac", rate=16_000, channels=1, parameter_sets=(b"\x14\x08",)),
            b"esds",
            "mp4a.40.2",
        ),
        (VIDEO, b"avc1", "avc1.42c00c"),
    ],
)
def test_each_codec_has_its_sample_entry_and_name(config, entry, name):
    init = init_segment(config)
    assert entry in init
    assert init_length(init + b"rest") == len(init)
    assert codec_name(config) == name


@pytest.mark.parametrize(
    "config",
    [
        CodecConfig(codec="h265", rate=90_000),
        CodecConfig(codec="h264", rate=90_000),
        CodecConfig(codec="aac", rate=48_000),
    ],
)
def test_what_cannot_be_described_is_refused(config):
    with pytest.raises(InvalidInput, match=r"config\."):
        init_segment(config)


def test_parts_are_read_back_with_wall_time_to_the_nanosecond():
    octets = _part() + _part(sequence=8, decode_time=97_201)
    first, second = whole_fragments(octets)
    assert first.samples == SAMPLES
    assert (first.sequence, first.decode_time, first.wall_ns) == (7, 90_000, WALL)
    assert (second.offset, second.length) == (first.length, len(octets) - first.length)
    assert octets[first.data_offset : first.data_offset + 24] == nal(20)


def test_samples_shown_later_than_decoded_are_read_back():
    samples = (Sample(1, 24, key=True, composition=0), Sample(1, 24, key=False, composition=-3601))
    (fragment,) = whole_fragments(_part(samples))
    assert fragment.samples == samples


def test_every_cut_of_a_file_gives_the_parts_that_are_whole():
    octets = _part() + _part(sequence=8)
    half = len(octets) // 2
    for cut in range(len(octets) + 1):
        assert len(list(whole_fragments(octets[:cut]))) == (cut >= half) + (cut >= 2 * half)


def test_a_part_with_one_flipped_bit_anywhere_is_not_whole():
    octets = _part()
    for at in range(len(octets)):
        flipped = octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]
        assert list(whole_fragments(flipped)) == [], at


def test_a_file_without_a_head_is_named_as_such():
    with pytest.raises(ProtocolError, match="moov"):
        init_length(init_segment(VIDEO)[:-1])
