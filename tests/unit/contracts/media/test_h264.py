import pytest

from contracts.errors import InvalidInput, ProtocolError
from contracts.media import h264
from contracts.media.h264_sps import parse_sps

# Encoded by libx264: Baseline 1280x720, Main 1920x1080, High 1920x1080 with two B-frames.
BASELINE = bytes.fromhex("6742c01fda014016e840000003004000000c83c60ca8")
MAIN = bytes.fromhex("674d4028da01e0089f961000000300100000030320f1832a")
HIGH = bytes.fromhex("67640028acd940780227e584000003000400000300c83c60c658")
PPS = bytes.fromhex("68ce0fc8")


@pytest.mark.parametrize(
    ("sps", "profile", "size", "reorder"),
    [
        (BASELINE, 66, (1280, 720), 0),
        (MAIN, 77, (1920, 1080), 0),
        (HIGH, 100, (1920, 1080), 2),
    ],
)
def test_sps(sps: bytes, profile: int, size: tuple[int, int], reorder: int) -> None:
    info = parse_sps(sps)
    assert (info.profile, (info.width, info.height), info.reorder_frames) == (
        profile,
        size,
        reorder,
    )


@pytest.mark.parametrize("sps", [BASELINE, MAIN, HIGH])
def test_cut_sps_is_refused(sps: bytes) -> None:
    for end in range(8):
        with pytest.raises(InvalidInput) as caught:
            parse_sps(sps[:end])
        assert caught.value.field == "h264.sps"


def test_codec_string() -> None:
    config = h264.config_from_parameter_sets([PPS, MAIN])
    assert config.parameter_sets == (MAIN, PPS)
    assert (config.width, config.height) == (1920, 1080)
    assert h264.codec_string(config) == "avc1.4d4028"
    with pytest.raises(InvalidInput, match="SPS"):
        h264.config_from_parameter_sets([PPS])


def test_annex_b_and_length_prefixes() -> None:
    stream = b"\0\0\0\1\x09\xf0\0\0\0\1" + MAIN + b"\0\0\1" + PPS + b"\0\0\1\x65\x88\x80\x01"
    payload = h264.from_annex_b(stream)
    assert payload == h264.join_nals([MAIN, PPS, b"\x65\x88\x80\x01"])
    assert h264.is_key(payload)
    assert h264.to_annex_b(payload) == b"".join(
        b"\0\0\0\1" + nal for nal in (MAIN, PPS, b"\x65\x88\x80\x01")
    )
    with pytest.raises(ProtocolError, match="length"):
        list(h264.split_nals(payload[:-1]))
    with pytest.raises(ProtocolError, match="length 0"):
        list(h264.split_nals(b"\0\0\0\0\x65"))


def test_packetize_bytes() -> None:
    nal = b"\x65" + bytes(range(10))
    assert h264.packetize(h264.join_nals([PPS, nal]), 6) == [
        PPS,
        b"\x7c\x85" + bytes(range(4)),
        b"\x7c\x05" + bytes(range(4, 8)),
        b"\x7c\x45" + bytes(range(8, 10)),
    ]


def test_an_mtu_without_room_is_refused() -> None:
    with pytest.raises(InvalidInput, match="mtu"):
        h264.packetize(h264.join_nals([b"\x65" * 9]), 2)


def test_depacketize_every_kind() -> None:
    depacketizer = h264.H264Depacketizer(None, 90_000)
    stap = b"\x18" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in (b"\x09\xf0", MAIN, PPS))
    for payload in (stap, b"\x7c\x85\xaa", b"\x7c\x05\xbb", b"\x7c\x45\xcc", b"\x06\x05\x80"):
        depacketizer.push(payload)
    assert depacketizer.complete
    assert depacketizer.take() == (
        h264.join_nals([MAIN, PPS, b"\x65\xaa\xbb\xcc", b"\x06\x05\x80"]),
        True,
    )
    assert depacketizer.config == h264.config_from_parameter_sets([MAIN, PPS])


@pytest.mark.parametrize(
    "payloads",
    [
        [b"\x7c\x05\xbb"],  # continues nothing
        [b"\x7c\x85"],  # empty fragment
        [b"\x7c\x85\xaa", b"\x7c\x85\xaa"],  # begins twice
        [b"\x7c\x85\xaa", b"\x41\x9a"],  # a whole unit between fragments
        [b"\x18\x00\x09\x41\x9a"],  # aggregate longer than its packet
        [b"\x18\x00\x00"],
        [b"\x18\x00"],
        [b"\x1d\x00\x00"],  # FU-B: interleaved mode only
        [b"\x00"],
    ],
)
def test_malformed_payloads_break_the_unit(payloads: list[bytes]) -> None:
    depacketizer = h264.H264Depacketizer(None, 90_000)
    for payload in payloads:
        depacketizer.push(payload)
    assert not depacketizer.complete
    depacketizer.clear()
    assert depacketizer.complete


def test_configuration_changes_only_with_its_sets() -> None:
    first = h264.config_from_parameter_sets([MAIN, PPS])
    depacketizer = h264.H264Depacketizer(first, 90_000)
    depacketizer.push(PPS)
    depacketizer.push(MAIN)
    depacketizer.take()
    assert depacketizer.config is first
    depacketizer.push(b"\x67\x4d")  # cut: ignored
    depacketizer.take()
    assert depacketizer.config is first
    depacketizer.push(BASELINE)
    depacketizer.take()
    assert depacketizer.config is not None
    assert depacketizer.config.parameter_sets == (BASELINE, PPS)
    assert depacketizer.config.width == 1280
