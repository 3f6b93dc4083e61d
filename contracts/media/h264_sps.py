"""The H.264 sequence parameter set: picture size, profile, level and reordering."""

from dataclasses import dataclass

from contracts.errors import InvalidInput
from contracts.media.bits import BitReader, strip_emulation_prevention

_SPS = 7
_TYPE_MASK = 0x1F
_PROFILES_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EXTENDED_SAR = 255
_MOST_SIDE = 16_384
_CHROMA_444 = 3
_PROFILES_WITHOUT_REORDERING = frozenset({66})


@dataclass(frozen=True, slots=True, kw_only=True)
class SpsInfo:
    """What we read from a sequence parameter set.

    Attributes:
        profile: profile_idc (66 Baseline, 77 Main, 100 High).
        constraints: the octet of constraint flags.
        level: level_idc, ten times the level.
        sps_id: seq_parameter_set_id.
        width: pixels after cropping.
        height: pixels after cropping.
        reorder_frames: pictures that may precede another in decoding order and follow it in
            output; 0 means no B-frame hold-back; None when the stream does not say.
    """

    profile: int
    constraints: int
    level: int
    sps_id: int
    width: int
    height: int
    reorder_frames: int | None


def parse_sps(sps: bytes) -> SpsInfo:
    """Read a sequence parameter set (H.264 section 7.3.2.1.1 and Annex E).

    Raises:
        InvalidInput: not an SPS, cut, or with impossible values.
    """
    if len(sps) < 4 or sps[0] & _TYPE_MASK != _SPS:  # noqa: PLR2004 - NAL header, profile, flags, level
        raise InvalidInput("not a sequence parameter set", field="h264.sps")
    profile, constraints, level = sps[1:4]
    bits = BitReader(strip_emulation_prevention(sps[4:]), field="h264.sps")
    sps_id = bits.unsigned_exp_golomb()
    chroma_format = _skip_chroma(bits) if profile in _PROFILES_WITH_CHROMA else 1
    bits.unsigned_exp_golomb()  # log2_max_frame_num_minus4
    _skip_picture_order(bits)
    bits.unsigned_exp_golomb()  # max_num_ref_frames
    bits.flag()  # gaps_in_frame_num_value_allowed_flag
    width, height = _picture_size(bits, chroma_format)
    reorder = _reorder_frames(bits) if bits.flag() else None
    if reorder is None and profile in _PROFILES_WITHOUT_REORDERING:
        reorder = 0
    return SpsInfo(
        profile=profile,
        constraints=constraints,
        level=level,
        sps_id=sps_id,
        width=width,
        height=height,
        reorder_frames=reorder,
    )


def _skip_chroma(bits: BitReader) -> int:
    chroma_format = bits.unsigned_exp_golomb()
    if chroma_format > _CHROMA_444:
        raise InvalidInput(f"chroma_format_idc is {chroma_format}", field="h264.sps")
    separate = chroma_format == _CHROMA_444 and bits.flag()
    bits.unsigned_exp_golomb()  # bit_depth_luma_minus8
    bits.unsigned_exp_golomb()  # bit_depth_chroma_minus8
    bits.flag()  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():
        for index in range(12 if chroma_format == _CHROMA_444 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)  # noqa: PLR2004 - six 4x4 lists
    return 0 if separate else chroma_format


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_exp_golomb()) & 0xFF
        last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    kind = bits.unsigned_exp_golomb()
    if kind == 0:
        bits.unsigned_exp_golomb()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.flag()
        bits.signed_exp_golomb()
        bits.signed_exp_golomb()
        cycle = bits.unsigned_exp_golomb()
        if cycle > 255:  # noqa: PLR2004 - H.264 section 7.4.2.1.1
            raise InvalidInput(f"a picture order cycle of {cycle}", field="h264.sps")
        for _ in range(cycle):
            bits.signed_exp_golomb()


def _picture_size(bits: BitReader, chroma_format: int) -> tuple[int, int]:
    width = 16 * (bits.unsigned_exp_golomb() + 1)
    map_units = bits.unsigned_exp_golomb() + 1
    frame_only = bits.flag()
    if not frame_only:
        bits.flag()  # mb_adaptive_frame_field_flag
    height = 16 * map_units * (1 if frame_only else 2)
    bits.flag()  # direct_8x8_inference_flag
    if bits.flag():
        unit_x = 2 if chroma_format in (1, 2) else 1
        unit_y = (2 if chroma_format == 1 else 1) * (1 if frame_only else 2)
        left, right, top, bottom = (bits.unsigned_exp_golomb() for _ in range(4))
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
    if not (0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE):
        raise InvalidInput(f"a picture of {width} x {height}", field="h264.sps")
    return width, height


def _reorder_frames(bits: BitReader) -> int | None:
    """Read the VUI (Annex E.1.1) up to max_num_reorder_frames."""
    _skip_display(bits)
    if bits.flag():
        bits.read(65)  # num_units_in_tick, time_scale, fixed_frame_rate_flag
    nal_hrd = bits.flag()
    if nal_hrd:
        _skip_hrd(bits)
    vcl_hrd = bits.flag()
    if vcl_hrd:
        _skip_hrd(bits)
    if nal_hrd or vcl_hrd:
        bits.flag()  # low_delay_hrd_flag
    bits.flag()  # pic_struct_present_flag
    if not bits.flag():
        return None
    bits.flag()  # motion_vectors_over_pic_boundaries_flag
    for _ in range(4):
        bits.unsigned_exp_golomb()
    return bits.unsigned_exp_golomb()


def _skip_display(bits: BitReader) -> None:
    """Skip aspect ratio, overscan, colours and chroma position."""
    if bits.flag() and bits.read(8) == _EXTENDED_SAR:
        bits.read(32)
    if bits.flag():
        bits.flag()  # overscan_appropriate_flag
    if bits.flag():
        bits.read(4)  # video_format, video_full_range_flag
        if bits.flag():
            bits.read(24)  # colour_primaries, transfer_characteristics, matrix_coefficients
    if bits.flag():
        bits.unsigned_exp_golomb()
        bits.unsigned_exp_golomb()


def _skip_hrd(bits: BitReader) -> None:
    count = bits.unsigned_exp_golomb() + 1
    if count > 32:  # noqa: PLR2004 - Annex E.2.2
        raise InvalidInput(f"cpb_cnt_minus1 is {count - 1}", field="h264.sps")
    bits.read(8)
    for _ in range(count):
        bits.unsigned_exp_golomb()
        bits.unsigned_exp_golomb()
        bits.flag()
    bits.read(20)
