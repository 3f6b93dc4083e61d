import av
import numpy as np
import pytest

from contracts.media.h264 import is_key, join_nals, to_annex_b
from contracts.timestamps import WallTime
from mingjing.simulators import burnt_clock
from mingjing.simulators.camera_source import LiveSource, VideoOptions
from mingjing.simulators.counter_scene import CounterScene
from mingjing.simulators.sei_clock import build_clock_sei, read_clock_sei

NOW_MS = 1_790_000_123_456


@pytest.mark.parametrize("size", [(1280, 720), (640, 360), (320, 180), (1920, 1080)])
@pytest.mark.parametrize("milliseconds", [0, 0xFFFFFFFF, NOW_MS])
def test_what_is_drawn_is_read(size: tuple[int, int], milliseconds: int) -> None:
    luma = np.full((size[1], size[0]), 128, np.uint8)
    burnt_clock.draw(luma, milliseconds)
    assert burnt_clock.decode(luma) == milliseconds % 2**32
    assert luma[burnt_clock.strip_height(size[1])].tolist() == [128] * size[0]


def test_pictures_without_a_clock_are_refused() -> None:
    luma = np.full((720, 1280), 128, np.uint8)
    assert burnt_clock.decode(luma) is None
    burnt_clock.draw(luma, NOW_MS)
    cell = 1280 // burnt_clock.CELLS
    luma[:40, 10 * cell + 20 : 11 * cell + 20] ^= 0xFF  # one cell flipped: the check must fail
    assert burnt_clock.decode(luma) is None
    assert burnt_clock.decode(np.zeros((20, 60), np.uint8)) is None


def test_unwrapping_finds_the_nearest() -> None:
    assert burnt_clock.unwrap(NOW_MS % 2**32, NOW_MS + 5000) == NOW_MS
    assert burnt_clock.unwrap(0xFFFFFFFF, 2**33 + 1) == 2**33 - 1


def test_the_clock_survives_the_encoder() -> None:
    source = LiveSource(VideoOptions(width=320, height=180, kbps=200), CounterScene(320, 180))
    times = [NOW_MS + 40 * index for index in range(10)]
    units = [
        source.next_nals(index, WallTime(time * 1_000_000), want_key=index in {0, 7})
        for index, time in enumerate(times)
    ]
    key_at = [index for index, nals in enumerate(units) if is_key(join_nals(nals))]
    assert key_at == [0, 7]
    decoder = av.CodecContext.create("h264", "r")
    packets = [av.Packet(to_annex_b(join_nals(nals))) for nals in units]
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    read = [burnt_clock.decode(frame.to_ndarray(format="gray")) for frame in frames]
    assert read == [time % 2**32 for time in times]


def test_the_person_comes_and_goes() -> None:
    scene = CounterScene(320, 180, period_s=20)
    middle = (slice(60, 110), slice(140, 180))
    there, away = scene.draw(6.0)[middle], scene.draw(16.0)[middle]
    assert abs(there.astype(int) - away.astype(int)).mean() > 20


@pytest.mark.parametrize("wall", [0, 1_790_000_000_000_000_000, 256, 1 << 56])
def test_sei_clock_round_trips(wall: int) -> None:
    sei = build_clock_sei(WallTime(wall))
    payload = join_nals([b"\x67\x42", sei, b"\x65\x88"])
    assert read_clock_sei(payload) == wall
    assert read_clock_sei(join_nals([b"\x65\x88"])) is None
