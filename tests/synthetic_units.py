"""Access units that no decoder will see: right in form, quick to make."""

from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.timestamps import NS, MediaTime, WallTime

START = 1_790_000_000_000_000_000
TICKS = 3600
FRAME_NS = NS // 25

VIDEO = CodecConfig(
    codec="h264",
    rate=90_000,
    parameter_sets=(bytes.fromhex("6742c00cda0507e8"), bytes.fromhex("68ce3c80")),
    width=320,
    height=180,
)
OTHER_VIDEO = CodecConfig(
    codec="h264",
    rate=90_000,
    parameter_sets=(bytes.fromhex("6742c01fda0507e8"), bytes.fromhex("68ce3c80")),
    width=640,
    height=360,
)
AUDIO = CodecConfig(codec="pcma", rate=8000, channels=1)


def nal(size: int, fill: int = 0x41) -> bytes:
    return size.to_bytes(4, "big") + bytes((fill,)) * size


def video(
    number: int,
    *,
    gop: int = 50,
    config: CodecConfig = VIDEO,
    media: int | None = None,
    arrived: int | None = None,
    lost: int = 0,
) -> AccessUnit:
    """Frame `number` at 25 frames a second; a key frame each `gop`."""
    ticks = number * TICKS if media is None else media
    return AccessUnit(
        config=config,
        key=number % gop == 0,
        media_time=MediaTime(ticks),
        captured_at=None,
        arrived_at=WallTime(START + number * FRAME_NS if arrived is None else arrived),
        payload=nal(20 + number % 7),
        lost_before=lost,
    )


def audio(number: int) -> AccessUnit:
    """Packet `number` of 20 ms of G.711."""
    return AccessUnit(
        config=AUDIO,
        key=True,
        media_time=MediaTime(number * 160),
        captured_at=None,
        arrived_at=WallTime(START + number * 20_000_000),
        payload=bytes(160),
    )
