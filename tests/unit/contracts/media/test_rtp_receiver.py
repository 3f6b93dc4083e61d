import struct

from contracts.media import h264
from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.media.rtp import RtpPacket, serialize_rtp
from contracts.media.rtp_receiver import MOST_UNIT_BYTES, RtpReceiver
from contracts.timestamps import WallTime, wall_to_ntp

SPS = bytes.fromhex("674d4028da01e0089f961000000300100000030320f1832a")
OTHER_SPS = bytes.fromhex("6742c01fda014016e840000003004000000c83c60ca8")
PPS = bytes.fromhex("68ce0fc8")
NOW = WallTime(1_790_000_000_000_000_000)
MS = 1_000_000


def key_unit(size: int = 60, sps: bytes = SPS) -> bytes:
    return h264.join_nals([sps, PPS, b"\x65" + bytes(range(1, size))])


def delta_unit(mark: int) -> bytes:
    return h264.join_nals([b"\x41" + bytes([mark]) * 50])


class Bench:
    """A receiver, and packets with consecutive numbers to feed it."""

    def __init__(self, config: CodecConfig | None = None, first: int = 65_530) -> None:
        self.units: list[AccessUnit] = []
        self.receiver = RtpReceiver("h264", 90_000, self.units.append, config)
        self.sequence = first
        self.mono = 0

    def packets(self, payload: bytes, timestamp: int) -> list[tuple[int, int, bool, bytes]]:
        parts = h264.packetize(payload, 20)
        out = []
        for index, part in enumerate(parts):
            out.append((self.sequence, timestamp, index == len(parts) - 1, part))
            self.sequence = (self.sequence + 1) & 0xFFFF
        return out

    def feed(self, *packets: tuple[int, int, bool, bytes], wall: int = NOW) -> None:
        for packet in packets:
            self.receiver.packet(*packet, now=WallTime(wall), mono_ns=self.mono)

    def payloads(self) -> list[bytes]:
        return [unit.payload for unit in self.units]


def test_units_come_out_whole_and_configured() -> None:
    bench = Bench()
    sent = [key_unit(), delta_unit(1), delta_unit(2)]
    for index, payload in enumerate(sent):
        bench.feed(*bench.packets(payload, (0xFFFFF000 + 3600 * index) & 0xFFFFFFFF))
    assert bench.payloads() == sent
    assert [unit.key for unit in bench.units] == [True, False, False]
    assert [unit.media_time - bench.units[0].media_time for unit in bench.units] == [0, 3600, 7200]
    assert len({id(unit.config) for unit in bench.units}) == 1
    assert bench.units[0].config.parameter_sets == (SPS, PPS)
    assert bench.units[0].captured_at is None


def test_nothing_before_the_first_decodable_key_frame() -> None:
    bench = Bench()
    bench.receiver.wants_key_frame = False
    bench.feed(*bench.packets(delta_unit(1), 0))
    assert bench.receiver.wants_key_frame
    headless = h264.join_nals([b"\x65" + bytes(60)])
    bench.feed(*bench.packets(headless, 3600))
    assert bench.units == []
    bench.feed(*bench.packets(key_unit(), 7200))
    assert bench.payloads() == [key_unit()]
    assert bench.units[0].lost_before == 0


def test_headless_key_frame_uses_the_configuration_of_the_sdp() -> None:
    config = h264.config_from_parameter_sets([SPS, PPS])
    bench = Bench(config)
    headless = h264.join_nals([b"\x65" + bytes(60)])
    bench.feed(*bench.packets(headless, 0))
    assert bench.payloads() == [headless]
    assert bench.units[0].config is config


def test_a_new_sps_makes_a_new_configuration() -> None:
    bench = Bench()
    bench.feed(*bench.packets(key_unit(), 0))
    bench.feed(*bench.packets(key_unit(), 3600))
    bench.feed(*bench.packets(key_unit(sps=OTHER_SPS), 7200))
    first, second, third = (unit.config for unit in bench.units)
    assert first is second
    assert (third.width, third.height) == (1280, 720)


def test_reordered_and_doubled_packets_do_not_matter() -> None:
    bench = Bench()
    packets = bench.packets(key_unit(), 0) + bench.packets(delta_unit(1), 3600)
    shuffled = [packets[0], *packets[3:0:-1], packets[2], *packets[4:], packets[1]]
    bench.feed(*shuffled)
    assert bench.payloads() == [key_unit(), delta_unit(1)]
    assert bench.receiver.lost == 0


def test_a_hole_is_waited_for_then_given_up() -> None:
    bench = Bench()
    bench.feed(*bench.packets(key_unit(), 0))
    bench.receiver.wants_key_frame = False
    first = bench.packets(delta_unit(1), 3600)
    second = bench.packets(delta_unit(2), 7200)
    third = bench.packets(delta_unit(3), 10_800)
    lost = first.pop(1)
    bench.feed(*first, *second, *third)
    assert bench.payloads() == [key_unit()]
    assert bench.receiver.missing() == [lost[0]]
    bench.receiver.poll(299 * MS)
    assert len(bench.units) == 1
    bench.receiver.poll(300 * MS)
    # The unit with the hole goes; the next is complete on its own and says what was lost.
    assert bench.payloads() == [key_unit(), delta_unit(2), delta_unit(3)]
    assert [unit.lost_before for unit in bench.units] == [0, 1, 0]
    assert bench.receiver.wants_key_frame
    assert bench.receiver.missing() == []


def test_a_retransmission_fills_the_hole() -> None:
    bench = Bench()
    first, second = bench.packets(key_unit(), 0), bench.packets(delta_unit(1), 3600)
    late = first.pop(2)
    bench.feed(*first, *second)
    bench.mono = 200 * MS
    bench.feed(late)
    assert bench.payloads() == [key_unit(), delta_unit(1)]
    assert bench.receiver.lost == 0


def test_the_first_packets_of_a_unit_lost_drop_that_unit() -> None:
    bench = Bench()
    bench.feed(*bench.packets(key_unit(), 0))
    second = bench.packets(delta_unit(1), 3600)
    bench.feed(*second[1:])
    bench.receiver.poll(10**9)
    bench.feed(*bench.packets(delta_unit(2), 7200))
    assert bench.payloads() == [key_unit(), delta_unit(2)]
    assert bench.units[-1].lost_before == 1


def test_two_holes_each_wait_from_their_own_start() -> None:
    bench = Bench()
    bench.feed(*bench.packets(key_unit(), 0))
    for index in range(4):
        bench.mono = index * 100 * MS
        packets = bench.packets(delta_unit(index), 3600 * (index + 1))
        if index in (0, 2):
            packets.pop()
        bench.feed(*packets)
    bench.receiver.poll(400 * MS)  # the first hole showed at 100 ms
    assert bench.payloads() == [key_unit()]  # its neighbour went with it
    bench.receiver.poll(600 * MS)  # the second showed at 300 ms
    bench.feed(*bench.packets(delta_unit(9), 90_000))
    assert bench.payloads()[-1] == delta_unit(9)
    assert bench.receiver.lost == 2


def test_no_marker_at_all_still_ends_units() -> None:
    bench = Bench()
    for index, payload in enumerate([key_unit(), delta_unit(1), delta_unit(2)]):
        bench.feed(*[(s, t, False, p) for s, t, _, p in bench.packets(payload, 3600 * index)])
    assert bench.payloads() == [key_unit(), delta_unit(1)]


def test_parameter_sets_under_their_own_marker_join_the_picture() -> None:
    bench = Bench()
    bench.feed(*bench.packets(h264.join_nals([SPS]), 0))
    bench.feed(*bench.packets(h264.join_nals([PPS]), 0))
    bench.feed(*bench.packets(h264.join_nals([b"\x65\x88\x80"]), 0))
    assert bench.payloads() == [h264.join_nals([SPS, PPS, b"\x65\x88\x80"])]


def test_capture_time_follows_the_sender_report() -> None:
    bench = Bench()
    bench.receiver.sender_report(0, 5)
    bench.feed(*bench.packets(key_unit(), 0xFFFFFFFF))
    bench.receiver.sender_report(wall_to_ntp(NOW), 0xFFFFFFFF)
    bench.feed(*bench.packets(delta_unit(1), 8999))
    bench.feed(*bench.packets(delta_unit(2), 0xFFFFFFFF - 9000))
    assert bench.units[0].captured_at is None
    claimed = [unit.captured_at or 0 for unit in bench.units[1:]]
    assert [round((at - NOW) / MS) for at in claimed] == [100, -100]


def test_a_restarted_sequence_is_believed_on_its_second_packet() -> None:
    bench = Bench(first=100)
    bench.feed(*bench.packets(key_unit(), 0))
    bench.sequence = 30_000
    bench.feed(*bench.packets(delta_unit(1), 3600))
    bench.feed(*bench.packets(delta_unit(2), 7200))
    assert bench.payloads() == [key_unit(), delta_unit(2)]
    assert bench.units[-1].lost_before > 0


def test_an_oversized_unit_is_dropped_whole() -> None:
    bench = Bench()
    bench.feed(*bench.packets(key_unit(), 0))
    big = bytes(60_000)
    for index in range(MOST_UNIT_BYTES // len(big) + 3):
        header = 0x81 if index == 0 else 0x01
        bench.feed((bench.sequence, 3600, False, bytes([0x7C, header]) + big))
        bench.sequence = (bench.sequence + 1) & 0xFFFF
    bench.feed(*bench.packets(delta_unit(2), 7200))
    assert bench.payloads() == [key_unit(), delta_unit(2)]
    assert bench.units[-1].lost_before == 1
    assert bench.receiver.malformed == 1


def test_datagrams_are_read_and_strangers_ignored() -> None:
    bench = Bench()
    payload = key_unit()
    for index, (sequence, timestamp, marker, part) in enumerate(bench.packets(payload, 0)):
        packet = RtpPacket(
            payload_type=96,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=7,
            marker=marker,
            payload=part,
            extension=(0xBEDE, b"\0\0\0\0") if index % 2 else None,
            padding=4 if index % 3 == 0 else 0,
        )
        octets = serialize_rtp(packet)
        bench.receiver.datagram(octets, now=NOW, mono_ns=0)
        stranger = octets[:8] + struct.pack("!I", 8) + octets[12:]
        bench.receiver.datagram(stranger, now=NOW, mono_ns=0)
        bench.receiver.datagram(octets[:11], now=NOW, mono_ns=0)
    assert bench.payloads() == [payload]
    assert bench.receiver.ssrc == 7
    assert bench.receiver.foreign == bench.receiver.malformed == bench.receiver.received


def test_reports_count_loss_per_interval() -> None:
    bench = Bench(first=0)
    packets = [(n, 0, False, b"") for n in range(100)]
    bench.feed(*packets[:50], *packets[60:])
    bench.receiver.poll(10**9)
    block = bench.receiver.report(10**9)
    assert (block.cumulative_lost, block.highest_sequence) == (10, 99)
    assert block.fraction_lost == 25
    bench.sequence = 100
    bench.feed(*[(n, 0, False, b"") for n in range(100, 110)])
    assert bench.receiver.report(10**9).fraction_lost == 0


def test_audio_frames_and_loss() -> None:
    units: list[AccessUnit] = []
    receiver = RtpReceiver("pcma", 8000, units.append)
    for sequence in (1, 2, 4, 5):
        receiver.packet(sequence, 160 * sequence, False, b"a" * 160, now=NOW, mono_ns=0)
    receiver.poll(10**9)
    assert [unit.media_time for unit in units] == [160, 320, 640, 800]
    assert [unit.lost_before for unit in units] == [0, 0, 1, 0]
    assert not receiver.wants_key_frame
    assert units[0].config == CodecConfig(codec="pcma", rate=8000, channels=1)


def test_aac_packets_hold_several_frames_or_a_part() -> None:
    units: list[AccessUnit] = []
    config = CodecConfig(
        codec="aac", rate=16_000, parameter_sets=(bytes.fromhex("1408"),), channels=1
    )
    receiver = RtpReceiver("aac", 16_000, units.append, config)
    two = b"\x00\x20" + struct.pack("!HH", 3 << 3, 2 << 3) + b"abcde"
    receiver.packet(0, 0, True, two, now=NOW, mono_ns=0)
    head = b"\x00\x10" + struct.pack("!H", 6 << 3)
    receiver.packet(1, 2048, False, head + b"xyz", now=NOW, mono_ns=0)
    receiver.packet(2, 2048, True, head + b"uvw", now=NOW, mono_ns=0)
    receiver.packet(3, 3072, True, two[:-1], now=NOW, mono_ns=0)
    assert [(unit.payload, unit.media_time) for unit in units] == [
        (b"abc", 0),
        (b"de", 1024),
        (b"xyzuvw", 2048),
    ]
    assert receiver.malformed == 1
