"""From one coded key frame to a small picture, with FFmpeg through PyAV."""

from collections.abc import Callable
from typing import cast

import av
import av.error
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from contracts.errors import InvalidInput
from models.face_detector import Picture

_START_CODE = b"\x00\x00\x01"
_H264_PARAMETER_SETS = {7, 8, 9}
"""SPS, PPS and access unit delimiter (ITU-T H.264, table 7-1)."""


def decode_key_frame(annex_b: bytes, size_for: Callable[[int, int], tuple[int, int]]) -> Picture:
    """Decode one key frame that carries its parameter sets.

    Args:
        annex_b: the access unit, NAL units behind start codes.
        size_for: the wanted width and height, given the coded ones.

    Returns:
        height × width × 3, BGR.

    Raises:
        InvalidInput: it does not decode.
    """
    # A decoder per picture: nothing of one camera can leak into another's, and at one picture every
    # few seconds the set-up does not matter.
    context = cast(VideoCodecContext, av.CodecContext.create(_codec(annex_b), "r"))
    context.thread_count = 1
    try:
        frames = [*context.decode(av.Packet(annex_b)), *context.decode(None)]
    except av.error.FFmpegError as exc:
        raise InvalidInput(f"does not decode: {exc}", field="picture") from exc
    if not frames:
        raise InvalidInput("holds no picture", field="picture")
    frame: VideoFrame = frames[0]
    width, height = size_for(frame.width, frame.height)
    small = frame.reformat(width=width, height=height, format="bgr24", interpolation="AREA")
    return np.asarray(small.to_ndarray(), np.uint8)


def _codec(annex_b: bytes) -> str:
    """The codec, from the first NAL unit: a key frame of either begins with parameter sets."""
    at = annex_b.find(_START_CODE)
    if at < 0 or at + 3 >= len(annex_b):
        raise InvalidInput("has no start code", field="picture")
    header = annex_b[at + 3]
    return "h264" if header & 0x1F in _H264_PARAMETER_SETS else "hevc"
