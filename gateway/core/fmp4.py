"""Fragmented MP4: build initialisation segments and fragments, and find whole ones again.

Sources: ISO/IEC 14496-12 (boxes), 14496-15 (AVC), 14496-1 (elementary stream descriptors), the
QuickTime file format (G.711 sample entries) and the Opus-in-ISOBMFF specification (``dOps``).

Theory of operation. A file is one initialisation segment (``ftyp`` ``moov``, no samples in it)
and then parts. A part is four boxes that are written together and never touched again:

* ``prft``: the wall time of the part's first sample, so that a file explains itself without our
  index, and so that parts whose index rows were lost in a crash can be adopted;
* ``moof``: when each sample is shown, its size and whether it is a key frame;
* ``mdat``: the samples, exactly as the source sent them;
* ``free``: a CRC-32 of the three, so that after a power cut a part with a hole in it is told from
  a whole one. (What proves anything is the SHA-256 in the index; this one only detects accidents.)

Everything is relative to the part itself (``default-base-is-moof``), so a part may stand anywhere.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.errors import InvalidInput, ProtocolError
from contracts.media.access_unit import CodecConfig
from contracts.media.bits import BitReader, strip_emulation_prevention
from contracts.media.h264 import PPS, SPS, codec_string, nal_type
from contracts.timestamps import NS, NTP_UNIX_OFFSET_S

TRACK_ID = 1
SAMPLE_IS_KEY = 0x02000000
"""sample_depends_on = 2: needs no other sample (ISO 14496-12, section 8.8.3.1)."""
SAMPLE_IS_DELTA = 0x01010000
"""sample_depends_on = 1 and sample_is_non_sync_sample."""

_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED_LANGUAGE = 0x55C4
_TFHD_DEFAULT_BASE_IS_MOOF = 0x020000
_TRUN_FLAGS = 0x000001 | 0x000100 | 0x000200 | 0x000400
"""data-offset, then per sample duration, size and flags."""
_TRUN_COMPOSITION = 0x000800
_PRFT_FLAGS = 24
"""The NTP time is of an arbitrary but consistent point: the gateway's clock at capture."""
_PROFILES_WITH_CHROMA = frozenset({100, 110, 122, 144, 244})
_CHROMA_444 = 3
_AAC_OBJECT_TYPE = 0x40
_AUDIO_STREAM = 0x15
_OPUS_RATE = 48_000
_MOST_RATE_IN_ENTRY = 0xFFFF
_HEADER = 8
_CHECKSUM_MARK = b"MJc1"
TRAILER_BYTES = 16
_NTP_FRACTION = 1 << 32


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a fragment: ticks until the next one, octets, key frame, show it later by."""

    duration: int
    size: int
    key: bool
    composition: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A whole part found in a file.

    Attributes:
        offset: of its first octet (of ``prft``, or ``moof`` when there is none).
        length: octets up to the end of its trailer.
        data_offset: of its first sample.
        sequence: of ``mfhd``.
        decode_time: ticks of its first sample.
        wall_ns: wall time of its first sample; None when the part does not say.
        samples: in decoding order.
    """

    offset: int
    length: int
    data_offset: int
    sequence: int
    decode_time: int
    wall_ns: int | None
    samples: tuple[Sample, ...]


def box(kind: bytes, *payload: bytes) -> bytes:
    """Wrap octets in a box."""
    body = b"".join(payload)
    return struct.pack(">I4s", _HEADER + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    """Wrap octets in a box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *payload)


def init_segment(config: CodecConfig) -> bytes:
    """Build ``ftyp`` and ``moov`` for one track.

    Raises:
        InvalidInput: a codec that cannot be stored, or parameter sets are missing.
    """
    is_video = config.track == "video"
    ftyp = box(b"ftyp", b"iso6", struct.pack(">I", 1), b"iso6iso5mp41")
    mvhd = full_box(
        b"mvhd",
        0,
        0,
        struct.pack(">IIIIIH10x", 0, 0, config.rate, 0, 0x10000, 0x0100),
        _MATRIX,
        bytes(24),
        struct.pack(">I", TRACK_ID + 1),
    )
    tkhd = full_box(
        b"tkhd",
        0,
        0x000003,
        struct.pack(">IIIII8xHHHH", 0, 0, TRACK_ID, 0, 0, 0, 0, 0 if is_video else 0x0100, 0),
        _MATRIX,
        struct.pack(">II", config.width << 16, config.height << 16),
    )
    mdhd = full_box(
        b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, config.rate, 0, _UNDETERMINED_LANGUAGE, 0)
    )
    handler, name = (b"vide", b"video\0") if is_video else (b"soun", b"audio\0")
    hdlr = full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, handler), name)
    media_header = (
        full_box(b"vmhd", 0, 1, bytes(8)) if is_video else full_box(b"smhd", 0, 0, bytes(4))
    )
    dinf = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))
    stbl = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), _sample_entry(config)),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    minf = box(b"minf", media_header, dinf, stbl)
    trak = box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, minf))
    trex = full_box(b"trex", 0, 0, struct.pack(">IIIII", TRACK_ID, 1, 0, 0, 0))
    return ftyp + box(b"moov", mvhd, trak, box(b"mvex", trex))


def part_header(
    samples: Sequence[Sample], *, sequence: int, decode_time: int, wall_ns: int
) -> bytes:
    """Build everything of a part that stands before its samples.

    Args:
        samples: at least one, in decoding order.
        sequence: of ``mfhd``, counts up within a file.
        decode_time: ticks of the first sample.
        wall_ns: wall time of the first sample.
    """
    flags = _TRUN_FLAGS
    fields: list[int] = []
    if any(sample.composition for sample in samples):
        flags |= _TRUN_COMPOSITION
        layout = f">{'IIIi' * len(samples)}"
        for sample in samples:
            fields += (sample.duration, sample.size, _flags(sample), sample.composition)
    else:
        layout = f">{3 * len(samples)}I"
        for sample in samples:
            fields += (sample.duration, sample.size, _flags(sample))
    table = struct.pack(layout, *fields)
    mfhd = full_box(b"mfhd", 0, 0, struct.pack(">I", sequence & 0xFFFFFFFF))
    tfhd = full_box(b"tfhd", 0, _TFHD_DEFAULT_BASE_IS_MOOF, struct.pack(">I", TRACK_ID))
    tfdt = full_box(b"tfdt", 1, 0, struct.pack(">Q", decode_time))
    trun_size = _HEADER + 4 + 8 + len(table)
    moof_size = _HEADER + len(mfhd) + _HEADER + len(tfhd) + len(tfdt) + trun_size
    trun = full_box(b"trun", 1, flags, struct.pack(">Ii", len(samples), moof_size + _HEADER), table)
    prft = full_box(
        b"prft",
        1,
        _PRFT_FLAGS,
        struct.pack(">IQQ", TRACK_ID, _wall_to_ntp_up(wall_ns), decode_time),
    )
    moof = box(b"moof", mfhd, box(b"traf", tfhd, tfdt, trun))
    size = sum(sample.size for sample in samples)
    return prft + moof + struct.pack(">I4s", _HEADER + size, b"mdat")


def part_trailer(octets: bytes) -> bytes:
    """Build what stands behind the samples; `octets` is the part up to there."""
    return box(b"free", _CHECKSUM_MARK, struct.pack(">I", zlib.crc32(octets)))


def codec_name(config: CodecConfig) -> str:
    """Name a codec after RFC 6381, e.g. ``avc1.4d0028``.

    Raises:
        InvalidInput: a codec that cannot be stored.
    """
    if config.codec == "h264":
        return codec_string(config)
    names = {"pcma": "alaw", "pcmu": "ulaw", "opus": "opus", "aac": "mp4a.40.2"}
    if config.codec not in names:
        raise InvalidInput(f"{config.codec} cannot be recorded yet", field="config.codec")
    return names[config.codec]


def init_length(octets: bytes) -> int:
    """Length of the initialisation segment a file begins with.

    Raises:
        ProtocolError: the file does not begin with a whole ``ftyp`` and ``moov``.
    """
    end = 0
    for kind in (b"ftyp", b"moov"):
        found = _box_at(octets, end)
        if found is None or found[0] != kind:
            raise ProtocolError(f"no whole {kind.decode()} at octet {end}", field="mp4")
        end += found[1]
    return end


def whole_fragments(octets: bytes, start: int = 0) -> Iterator[Fragment]:
    """Walk the whole parts of a file from `start`; stop at the first that is torn or foreign."""
    at = start
    while True:
        fragment = _fragment_at(octets, at)
        if fragment is None:
            return
        yield fragment
        at = fragment.offset + fragment.length


def _flags(sample: Sample) -> int:
    return SAMPLE_IS_KEY if sample.key else SAMPLE_IS_DELTA


def _wall_to_ntp_up(wall_ns: int) -> int:
    """NTP time rounded up, so that reading it back (rounded down) gives the same nanosecond."""
    seconds, rest = divmod(wall_ns, NS)
    return (seconds + NTP_UNIX_OFFSET_S) << 32 | -(-(rest * _NTP_FRACTION) // NS)


def _ntp_to_wall(ntp: int) -> int:
    return ((ntp >> 32) - NTP_UNIX_OFFSET_S) * NS + ((ntp & 0xFFFFFFFF) * NS >> 32)


def _sample_entry(config: CodecConfig) -> bytes:
    match config.codec:
        case "h264":
            return _avc_entry(config)
        case "pcma":
            return _audio_entry(b"alaw", config)
        case "pcmu":
            return _audio_entry(b"ulaw", config)
        case "opus":
            head = struct.pack(">BBHIhB", 0, config.channels or 2, 0, _OPUS_RATE, 0, 0)
            return _audio_entry(b"Opus", config, box(b"dOps", head))
        case "aac":
            return _audio_entry(b"mp4a", config, _elementary_stream(config))
        case _:
            raise InvalidInput(f"{config.codec} cannot be recorded yet", field="config.codec")


def _avc_entry(config: CodecConfig) -> bytes:
    sps = [nal for nal in config.parameter_sets if nal and nal_type(nal) == SPS]
    pps = [nal for nal in config.parameter_sets if nal and nal_type(nal) == PPS]
    if not sps or not pps or len(sps[0]) < 4:  # noqa: PLR2004 - NAL header, profile, flags, level
        raise InvalidInput("needs an SPS and a PPS", field="config.parameter_sets")
    record = bytes((1, sps[0][1], sps[0][2], sps[0][3], 0xFF, 0xE0 | len(sps)))
    record += b"".join(struct.pack(">H", len(nal)) + nal for nal in sps)
    record += bytes((len(pps),)) + b"".join(struct.pack(">H", len(nal)) + nal for nal in pps)
    record += _chroma(sps[0])
    return box(
        b"avc1",
        struct.pack(">6xH16xHHIIIH32sHh", 1, config.width, config.height, 0x480000, 0x480000, 0, 1,
                    b"", 0x18, -1),
        box(b"avcC", record),
    )  # fmt: skip


def _chroma(sps: bytes) -> bytes:
    """The fields which avcC carries for the High profiles (ISO 14496-15, section 5.3.3.1.2)."""
    if sps[1] not in _PROFILES_WITH_CHROMA:
        return b""
    bits = BitReader(strip_emulation_prevention(sps[4:]), field="h264.sps")
    bits.unsigned_exp_golomb()  # seq_parameter_set_id
    chroma_format = bits.unsigned_exp_golomb()
    if chroma_format == _CHROMA_444:
        bits.flag()
    luma, chroma = bits.unsigned_exp_golomb(), bits.unsigned_exp_golomb()
    return bytes((0xFC | chroma_format & 3, 0xF8 | luma & 7, 0xF8 | chroma & 7, 0))


def _audio_entry(kind: bytes, config: CodecConfig, *boxes: bytes) -> bytes:
    rate = _OPUS_RATE if config.codec == "opus" else config.rate
    fixed = rate << 16 if rate <= _MOST_RATE_IN_ENTRY else 0
    return box(kind, struct.pack(">6xH8xHHHHI", 1, config.channels or 1, 16, 0, 0, fixed), *boxes)


def _elementary_stream(config: CodecConfig) -> bytes:
    if not config.parameter_sets or not config.parameter_sets[0]:
        raise InvalidInput("needs the AudioSpecificConfig", field="config.parameter_sets")
    specific = _descriptor(0x05, config.parameter_sets[0])
    decoder = _descriptor(
        0x04, struct.pack(">BB3xII", _AAC_OBJECT_TYPE, _AUDIO_STREAM, 0, 0), specific
    )
    sync = _descriptor(0x06, b"\x02")
    return full_box(
        b"esds", 0, 0, _descriptor(0x03, struct.pack(">HB", TRACK_ID, 0), decoder, sync)
    )


def _descriptor(tag: int, *payload: bytes) -> bytes:
    """One descriptor with a one-octet length, which is enough for an AudioSpecificConfig."""
    body = b"".join(payload)
    if len(body) > 0x7F:  # noqa: PLR2004 - seven bits of a length octet
        raise InvalidInput("AudioSpecificConfig is too long", field="config.parameter_sets")
    return bytes((tag, len(body))) + body


def _box_at(octets: bytes, at: int) -> tuple[bytes, int] | None:
    """Type and length of the whole box at an octet; None when it is torn or no box."""
    if at + _HEADER > len(octets):
        return None
    size, kind = struct.unpack_from(">I4s", octets, at)
    if size < _HEADER or at + size > len(octets):
        return None
    return kind, size


def _fragment_at(octets: bytes, start: int) -> Fragment | None:
    at = start
    wall: int | None = None
    found = _box_at(octets, at)
    if found is not None and found[0] == b"prft" and found[1] == 32:  # noqa: PLR2004 - version 1
        wall = _ntp_to_wall(struct.unpack_from(">Q", octets, at + 16)[0])
        at += found[1]
        found = _box_at(octets, at)
    if found is None or found[0] != b"moof":
        return None
    try:
        sequence, decode_time, data_offset, samples = _read_moof(octets[at : at + found[1]])
    except (struct.error, ProtocolError):
        return None
    moof_at, at = at, at + found[1]
    found = _box_at(octets, at)
    if found is None or found[0] != b"mdat" or moof_at + data_offset != at + _HEADER:
        return None
    if sum(sample.size for sample in samples) != found[1] - _HEADER or not samples:
        return None
    end = at + found[1]
    if octets[end : end + TRAILER_BYTES] != part_trailer(octets[start:end]):
        return None
    return Fragment(
        offset=start,
        length=end + TRAILER_BYTES - start,
        data_offset=at + _HEADER,
        sequence=sequence,
        decode_time=decode_time,
        wall_ns=wall,
        samples=samples,
    )


def _read_moof(moof: bytes) -> tuple[int, int, int, tuple[Sample, ...]]:
    """Read a ``moof`` of our own making; anything else is refused."""
    mfhd = _child(moof, _HEADER, b"mfhd")
    traf_at = mfhd[1]
    traf = _child(moof, traf_at, b"traf")
    tfhd = _child(moof, traf[0], b"tfhd")
    tfdt = _child(moof, tfhd[1], b"tfdt")
    trun = _child(moof, tfdt[1], b"trun")
    (sequence,) = struct.unpack_from(">I", moof, mfhd[0] + 4)
    (decode_time,) = struct.unpack_from(">Q", moof, tfdt[0] + 4)
    word, count, data_offset = struct.unpack_from(">IIi", moof, trun[0])
    table = moof[trun[0] + 12 : trun[1]]
    flags = word & 0xFFFFFF
    if flags not in (_TRUN_FLAGS, _TRUN_FLAGS | _TRUN_COMPOSITION):
        raise ProtocolError(f"unknown fields {flags:#x}", field="mp4.trun")
    width = 16 if flags & _TRUN_COMPOSITION else 12
    if len(table) != count * width:
        raise ProtocolError("does not hold its samples", field="mp4.trun")
    layout = ">IIIi" if flags & _TRUN_COMPOSITION else ">III"
    samples = tuple(
        Sample(row[0], row[1], row[2] == SAMPLE_IS_KEY, row[3] if len(row) > 3 else 0)  # noqa: PLR2004 - the optional field
        for row in struct.iter_unpack(layout, table)
    )
    return sequence, decode_time, data_offset, samples


def _child(octets: bytes, at: int, kind: bytes) -> tuple[int, int]:
    """Start of the payload and end of the box of this type at an octet."""
    found = _box_at(octets, at)
    if found is None or found[0] != kind:
        raise ProtocolError(f"no {kind.decode()} at octet {at}", field="mp4.moof")
    return at + _HEADER, at + found[1]
