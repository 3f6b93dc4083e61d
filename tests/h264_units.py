"""Real H.264 for tests: moving pictures encoded with libx264, as a camera would send them."""

import io
from dataclasses import dataclass
from functools import cache

import av
import numpy as np

from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.media.h264 import (
    PPS,
    SPS,
    config_from_parameter_sets,
    from_annex_b,
    nal_type,
    split_nals,
)
from contracts.timestamps import NS, MediaTime, WallTime

FPS = 25
TICKS = 90_000 // FPS
FRAME_NS = NS // FPS
START = 1_790_000_000_000_000_000


@dataclass(frozen=True)
class Clip:
    """Encoded frames with the configuration they need."""

    config: CodecConfig
    payloads: tuple[bytes, ...]
    keys: tuple[bool, ...]

    def unit(
        self, number: int, *, start: int = START, delay_ns: int = 0, lost_before: int = 0
    ) -> AccessUnit:
        """Frame `number` of the endless repetition of this clip, sent at 25 frames a second."""
        at = start + number * FRAME_NS
        return AccessUnit(
            config=self.config,
            key=self.keys[number % len(self.keys)],
            media_time=MediaTime(number * TICKS),
            captured_at=WallTime(at + 5_000_000),
            arrived_at=WallTime(at + delay_ns),
            payload=self.payloads[number % len(self.payloads)],
            lost_before=lost_before,
        )


@cache
def clip(frames: int = 50, *, gop: int = 50, width: int = 320, height: int = 180) -> Clip:
    """Encode a moving gradient: closed groups of pictures, no B-frames, SPS and PPS in band."""
    container = av.open(io.BytesIO(), "w", format="h264")
    stream = container.add_stream("libx264", rate=FPS)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {
        "preset": "ultrafast",
        "profile": "main",
        "bf": "0",
        "g": str(gop),
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:repeat-headers=1:threads=1",
    }
    x = np.arange(width, dtype=np.uint16)[None, :, None]
    y = np.arange(height, dtype=np.uint16)[:, None, None]
    packets = []
    for number in range(frames):
        picture = (x + 5 * number, y + 3 * number, x + y)
        rgb = np.concatenate([np.broadcast_to(p, (height, width, 1)) for p in picture], axis=2)
        frame = av.VideoFrame.from_ndarray((rgb % 256).astype(np.uint8), format="rgb24")
        packets += stream.encode(frame)
    packets += stream.encode(None)
    payloads = tuple(from_annex_b(bytes(packet)) for packet in packets)
    sets = [nal for nal in split_nals(payloads[0]) if nal_type(nal) in (SPS, PPS)]
    return Clip(
        config=config_from_parameter_sets(sets),
        payloads=payloads,
        keys=tuple(packet.is_keyframe for packet in packets),
    )
