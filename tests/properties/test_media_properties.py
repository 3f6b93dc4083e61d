"""Whatever a peer sends, the media codecs answer with a value or one of our errors."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InvalidInput, ProtocolError
from contracts.media import h264
from contracts.media.access_unit import AccessUnit
from contracts.media.bits import add_emulation_prevention, strip_emulation_prevention
from contracts.media.h264_sps import parse_sps
from contracts.media.rtcp import (
    build_nack,
    iterate_compound,
    parse_nack,
    parse_picture_loss,
    parse_receiver_report,
    sender_reports,
)
from contracts.media.rtp import RtpPacket, Unwrapper, parse_rtp, serialize_rtp
from contracts.media.rtp_receiver import RtpReceiver
from contracts.media.sdp import codec_config, parse_sdp
from contracts.timestamps import WallTime

SPS = bytes.fromhex("674d4028da01e0089f961000000300100000030320f1832a")
PPS = bytes.fromhex("68ce0fc8")
NOW = WallTime(1_790_000_000_000_000_000)

words = st.integers(0, 0xFFFFFFFF)
rtp_packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=words,
    ssrc=words,
    marker=st.booleans(),
    payload=st.binary(max_size=60),
    csrcs=st.lists(words, max_size=15).map(tuple),
    extension=st.none()
    | st.tuples(
        st.integers(0, 0xFFFF),
        st.integers(0, 4).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    ),
    padding=st.integers(0, 255),
)
slices = st.builds(
    lambda kind, body: bytes((kind,)) + body,
    st.sampled_from([0x41, 0x01, 0x06]),
    st.binary(min_size=1, max_size=80),
)
key_units = st.binary(min_size=1, max_size=200).map(
    lambda body: h264.join_nals([SPS, PPS, b"\x65" + body])
)
delta_units = st.lists(slices, max_size=3).map(
    lambda nals: h264.join_nals([*nals, b"\x41\x9a\x02"])
)
unit_lists = st.tuples(key_units, st.lists(delta_units | key_units, max_size=8)).map(
    lambda pair: [pair[0], *pair[1]]
)


@given(rtp_packets)
def test_rtp_round_trips(packet: RtpPacket) -> None:
    assert parse_rtp(serialize_rtp(packet)) == packet


@given(st.binary(max_size=80))
def test_any_octets_give_an_rtp_packet_or_a_protocol_error(octets: bytes) -> None:
    try:
        packet = parse_rtp(octets)
    except ProtocolError as exc:
        assert exc.field.startswith("rtp.")
    else:
        assert len(packet.payload) <= len(octets) - 12


@given(st.binary(max_size=80))
def test_any_octets_give_rtcp_or_a_protocol_error(octets: bytes) -> None:
    for read in (sender_reports, _read_feedback):
        try:
            read(octets)
        except ProtocolError as exc:
            assert exc.field.startswith("rtcp.")


def _read_feedback(octets: bytes) -> None:
    for packet in iterate_compound(octets):
        for parse in (parse_nack, parse_picture_loss, parse_receiver_report):
            parse(packet)


@given(st.lists(st.integers(0, 0xFFFF), max_size=40))
def test_nacks_ask_for_what_was_put_in(sequences: list[int]) -> None:
    _, asked = parse_nack(next(iterate_compound(build_nack(1, 2, sequences))))
    assert set(asked) == set(sequences)


@given(st.binary(max_size=60))
def test_any_octets_give_an_sps_or_invalid_input(octets: bytes) -> None:
    try:
        info = parse_sps(b"\x67" + octets)
    except InvalidInput as exc:
        assert exc.field == "h264.sps"
    else:
        assert info.width > 0


@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "m=video 0 RTP/AVP 96",
                "m=audio 0 RTP/AVP 8",
                "a=rtpmap:96 H264/90000",
                "a=rtpmap:96 H264",
                "a=fmtp:96 sprop-parameter-sets=Z01A,aO8=",
                "a=fmtp:96 sprop-parameter-sets=!,",
                "a=control:x",
                "a=rtpmap:96 mpeg4-generic/x/2",
                "a=framerate:abc",
                "m=video",
                "a=rtpmap:8 opus/48000/2",
            ]
        )
    ).map("\r\n".join)
)
def test_any_text_gives_a_description_or_invalid_input(text: str) -> None:
    try:
        session = parse_sdp(text)
        for media in session.media:
            codec_config(media)
    except InvalidInput as exc:
        assert exc.field


@given(st.binary(max_size=80))
def test_emulation_prevention_round_trips(octets: bytes) -> None:
    escaped = add_emulation_prevention(octets)
    assert strip_emulation_prevention(escaped) == octets
    assert all(bytes((0, 0, n)) not in escaped for n in range(3))


@given(st.integers(0, 1 << 40), st.lists(st.integers(-1000, 1000), max_size=50))
def test_unwrapping_restores_the_counter(start: int, steps: list[int]) -> None:
    unwrapper = Unwrapper(16)
    base = start - unwrapper.unwrap(start & 0xFFFF)
    for step in steps:
        start += step
        assert unwrapper.unwrap(start & 0xFFFF) + base == start


@settings(max_examples=60)
@given(
    unit_lists,
    st.integers(0, 0xFFFF),
    words,
    st.integers(10, 200),
    st.randoms(use_true_random=False),
)
def test_shuffled_and_doubled_packets_give_the_same_units(
    sent: list[bytes], sequence: int, timestamp: int, mtu: int, random: object
) -> None:
    packets = _packets(sent, sequence, timestamp, mtu)
    first, rest = packets[0], packets[1:] + packets[::3]
    random.shuffle(rest)  # type: ignore[attr-defined]  # hypothesis types it as Random
    units: list[AccessUnit] = []
    receiver = RtpReceiver("h264", 90_000, units.append)
    for packet in [first, *rest]:
        receiver.packet(*packet, now=NOW, mono_ns=0)
    assert [unit.payload for unit in units] == sent
    assert receiver.lost == 0
    assert [unit.media_time - units[0].media_time for unit in units] == [
        3600 * index for index in range(len(sent))
    ]


@settings(max_examples=60)
@given(unit_lists, st.integers(0, 0xFFFF), st.sets(st.integers(1, 60), max_size=10))
def test_with_losses_only_whole_units_come_out(
    sent: list[bytes], sequence: int, lost: set[int]
) -> None:
    units: list[AccessUnit] = []
    receiver = RtpReceiver("h264", 90_000, units.append)
    packets = _packets(sent, sequence, 5, 30)
    kept = [packet for index, packet in enumerate(packets) if index not in lost]
    for packet in kept:
        receiver.packet(*packet, now=NOW, mono_ns=0)
    receiver.poll(10**9)
    remaining = iter(sent)
    assert all(any(unit.payload == payload for payload in remaining) for unit in units)
    if len(units) < len(sent) and units:
        assert receiver.lost or kept[-1] != packets[-1] or receiver.wants_key_frame


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), words, st.booleans(), st.binary(max_size=40)), max_size=60
    )
)
def test_hostile_packets_never_raise(packets: list[tuple[int, int, bool, bytes]]) -> None:
    units: list[AccessUnit] = []
    receiver = RtpReceiver("h264", 90_000, units.append)
    for index, packet in enumerate(packets):
        receiver.packet(*packet, now=NOW, mono_ns=index * 10**8)
        receiver.datagram(packet[3], now=NOW, mono_ns=index * 10**8)
        receiver.missing()
    receiver.report(10**10)
    for unit in units:
        assert h264.is_key(units[0].payload)
        assert h264.from_annex_b(h264.to_annex_b(unit.payload)) or unit.payload


def _packets(
    sent: list[bytes], sequence: int, timestamp: int, mtu: int
) -> list[tuple[int, int, bool, bytes]]:
    out = []
    for index, payload in enumerate(sent):
        parts = h264.packetize(payload, mtu)
        for at, part in enumerate(parts):
            stamp = (timestamp + 3600 * index) & 0xFFFFFFFF
            out.append((sequence, stamp, at == len(parts) - 1, part))
            sequence = (sequence + 1) & 0xFFFF
    return out
