"""Golden packets of `zk_frames`, each with a truncated and a falsified twin."""

import pytest

from contracts.errors import ProtocolError
from edge_agent.core.zk_frames import (
    MOST_FALSE_FRAMES,
    Command,
    Frame,
    FrameReader,
    checksum,
    encode,
    scramble_comm_key,
)

SESSION = 0xFB2F

# Sent by us to an independent client and server of this protocol, which took them.
GOLDEN = {
    "CONNECT": (
        "5050827d08000000e80317fc00000000",
        Frame(command=Command.CONNECT, session=0, reply=0),
    ),
    "AUTH": (
        "5050827d0c0000004e040d482ffb010041363282",
        Frame(
            command=Command.AUTH,
            session=SESSION,
            reply=1,
            data=scramble_comm_key(1234, SESSION),
        ),
    ),
    "REG_EVENT": (
        "5050827d0c000000f401d6022ffb050001000000",
        Frame(command=Command.REG_EVENT, session=SESSION, reply=5, data=b"\1\0\0\0"),
    ),
    "UNLOCK": (
        "5050827d0c0000001f0079042ffb060032000000",
        Frame(command=31, session=SESSION, reply=6, data=b"\x32\0\0\0"),
    ),
    "EF_ATTLOG": (
        "5050827d28000000f401768e01000000" + b"1001".hex() + "00" * 20 + "01001a0b18030000",
        Frame(
            command=Command.REG_EVENT,
            session=1,
            reply=0,
            data=b"1001" + b"\0" * 20 + bytes.fromhex("01001a0b18030000"),
        ),
    ),
}
golden = pytest.mark.parametrize(("packet", "frame"), GOLDEN.values(), ids=GOLDEN.keys())


@golden
def test_golden_packets_are_written_byte_for_byte(packet, frame):
    assert encode(frame).hex() == packet


@golden
def test_golden_packets_are_read(packet, frame):
    reader = FrameReader()
    assert reader.feed(bytes.fromhex(packet)) == [frame]
    assert reader.skipped == 0


@golden
def test_truncated_packets_wait_for_their_end(packet, frame):
    reader = FrameReader()
    raw = bytes.fromhex(packet)
    assert reader.feed(raw[:-1]) == []
    assert reader.feed(raw[-1:]) == [frame]


@golden
def test_one_wrong_bit_costs_that_frame_only(packet, frame):
    raw = bytearray.fromhex(packet)
    raw[-1] ^= 1
    reader = FrameReader()
    assert reader.feed(bytes(raw) + encode(frame)) == [frame]
    assert reader.skipped == len(raw)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (bytes.fromhex("0b000000f38d0300") + b"ZKFaceVersion\0", 0x175A),
        (bytes.fromhex("d0070000f38d0a0009"), 0x6A29),
    ],
)
def test_checksum_vectors(payload, expected):
    assert checksum(payload) == expected


def test_the_communication_key_depends_on_key_and_session():
    assert scramble_comm_key(1234, SESSION).hex() == "41363282"
    assert scramble_comm_key(1235, SESSION) != scramble_comm_key(1234, SESSION)
    assert scramble_comm_key(1234, SESSION ^ 0x100) != scramble_comm_key(1234, SESSION)


def test_a_frame_interrupted_by_a_fresh_one_is_skipped():
    whole = encode(Frame(command=2000, session=7, reply=1, data=b"abcd"))
    other = Frame(command=2000, session=7, reply=2, data=b"efgh" * 4)
    reader = FrameReader()
    frames = reader.feed(whole[:-2] + encode(other))
    assert frames == [other]
    assert reader.skipped == len(whole) - 2


def test_a_length_above_the_cap_is_no_frame():
    reader = FrameReader(most_bytes=64)
    large = encode(Frame(command=1501, session=0, reply=0, data=bytes(80)))
    small = Frame(command=2000, session=0, reply=0)
    assert reader.feed(large + encode(small)) == [small]


def test_endless_rubbish_is_refused():
    reader = FrameReader()
    with pytest.raises(ProtocolError, match="no ZK frames"):
        for _ in range(100):
            reader.feed(bytes(range(256)) * 4)


def test_endless_false_frames_are_refused():
    reader = FrameReader()
    false = bytearray(encode(Frame(command=2000, session=0, reply=0)))
    false[10] ^= 0xFF
    with pytest.raises(ProtocolError, match=f"{MOST_FALSE_FRAMES + 1} wrong sums"):
        reader.feed(bytes(false) * (MOST_FALSE_FRAMES + 5))
