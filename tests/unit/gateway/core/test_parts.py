"""Packed frames and the hash chain."""

from dataclasses import replace

import pytest

from contracts.errors import InvalidInput
from gateway.core.fmp4 import Sample
from gateway.core.parts import CHAIN_GENESIS, ChainLink, chain, pack_frames, unpack_frames

LINK = ChainLink(
    stream="cam-07-front.main",
    track="video",
    sequence=1,
    start_ns=1,
    end_ns=2,
    media_start=0,
    init_sha256="00" * 32,
)
SAMPLES = tuple(Sample(3600 + n, 1000 * n, key=n % 5 == 0) for n in range(23))


def test_packed_frames_come_back():
    assert unpack_frames(pack_frames(SAMPLES), 23) == SAMPLES


def test_packed_frames_of_another_count_or_cut_are_refused():
    packed = pack_frames(SAMPLES)
    with pytest.raises(InvalidInput, match="22 frames"):
        unpack_frames(packed, 22)
    with pytest.raises(InvalidInput, match="frames"):
        unpack_frames(packed[:-3], 23)


def test_the_chain_has_this_value():
    """Fixed for ever: evidence is verified against it."""
    value = chain(CHAIN_GENESIS, bytes(range(32)), LINK)
    assert value.hex() == "c060bf6d1714f858b80e0ea024a2ebee58df89bd28775cf77eb09a8d903329f9"


@pytest.mark.parametrize(
    "change",
    [
        {"stream": "cam-08-front.main"},
        {"track": "audio"},
        {"sequence": 2},
        {"start_ns": 0},
        {"end_ns": 3},
        {"media_start": 1},
        {"init_sha256": "01" * 32},
    ],
)
def test_every_field_is_in_the_chain(change):
    base = chain(CHAIN_GENESIS, bytes(32), LINK)
    assert chain(CHAIN_GENESIS, bytes(32), replace(LINK, **change)) != base
    assert chain(bytes(31) + b"\1", bytes(32), LINK) != base
    assert chain(CHAIN_GENESIS, bytes(31) + b"\1", LINK) != base
