"""H.264: NAL units (ITU-T H.264 section 7.3.1), configurations and RTP payloads (RFC 6184).

Inside this project an access unit is its NAL units, each behind a 4-byte big-endian length.
"""

from collections.abc import Iterable, Iterator

from contracts.errors import InvalidInput, ProtocolError
from contracts.media.access_unit import CodecConfig
from contracts.media.bits import BitReader, strip_emulation_prevention
from contracts.media.h264_sps import parse_sps
from contracts.timestamps import VIDEO_RATE

SLICE = 1
IDR_SLICE = 5
SEI = 6
SPS = 7
PPS = 8
ACCESS_UNIT_DELIMITER = 9
STAP_A = 24
FU_A = 28

LENGTH_BYTES = 4
MOST_PARAMETER_SETS = 32

_TYPE_MASK = 0x1F
_KIND_MASK = 0xE0
_FRAGMENT_HEAD = 2
_FU_START = 0x80
_FU_END = 0x40


def nal_type(nal: bytes) -> int:
    """Return nal_unit_type of a NAL unit that is not empty."""
    return nal[0] & _TYPE_MASK


def split_nals(payload: bytes) -> Iterator[bytes]:
    """Walk the NAL units of a length-prefixed access unit.

    Raises:
        ProtocolError: a length reaches past the end, or is zero.
    """
    at = 0
    size = len(payload)
    while at < size:
        start = at + LENGTH_BYTES
        length = int.from_bytes(payload[at:start], "big")
        at = start + length
        if length == 0 or at > size:
            raise ProtocolError(f"length {length} at octet {start} of {size}", field="h264.nal")
        yield payload[start:at]


def join_nals(nals: Iterable[bytes]) -> bytes:
    """Put each NAL unit behind its 4-byte length."""
    return b"".join(len(nal).to_bytes(LENGTH_BYTES, "big") + nal for nal in nals)


def split_annex_b(stream: bytes) -> list[bytes]:
    """Return the NAL units of an Annex B byte stream (H.264 Annex B), trailing zeros cut."""
    nals = []
    at = stream.find(b"\0\0\1")
    while at >= 0:
        start = at + 3
        at = stream.find(b"\0\0\1", start)
        nal = stream[start : at if at >= 0 else len(stream)].rstrip(b"\0")
        if nal:
            nals.append(nal)
    return nals


def from_annex_b(stream: bytes) -> bytes:
    """Convert an Annex B access unit to length-prefixed form, without delimiters."""
    return join_nals(nal for nal in split_annex_b(stream) if nal_type(nal) != ACCESS_UNIT_DELIMITER)


def to_annex_b(payload: bytes) -> bytes:
    """Convert a length-prefixed access unit to Annex B.

    Raises:
        ProtocolError: see `split_nals`.
    """
    return b"".join(b"\0\0\0\1" + nal for nal in split_nals(payload))


def is_key(payload: bytes) -> bool:
    """Tell whether a length-prefixed access unit holds an IDR picture."""
    return any(nal_type(nal) == IDR_SLICE for nal in split_nals(payload))


def codec_string(config: CodecConfig) -> str:
    """Return the RFC 6381 name, e.g. ``avc1.4d0028``.

    Raises:
        InvalidInput: the configuration has no SPS.
    """
    for nal in config.parameter_sets:
        if nal_type(nal) == SPS and len(nal) >= 4:  # noqa: PLR2004 - see parse_sps
            return f"avc1.{nal[1:4].hex()}"
    raise InvalidInput("has no SPS", field="config.parameter_sets")


def config_from_parameter_sets(nals: Iterable[bytes], *, rate: int = VIDEO_RATE) -> CodecConfig:
    """Make a configuration of SPS and PPS; SPS come first.

    Raises:
        InvalidInput: no SPS or no PPS, or an SPS that cannot be read.
    """
    sets = [nal for nal in nals if nal]
    sps = [nal for nal in sets if nal_type(nal) == SPS]
    pps = [nal for nal in sets if nal_type(nal) == PPS]
    if not sps or not pps:
        raise InvalidInput("needs an SPS and a PPS", field="h264.parameter_sets")
    info = parse_sps(sps[0])
    return CodecConfig(
        codec="h264",
        rate=rate,
        parameter_sets=(*sps, *pps),
        width=info.width,
        height=info.height,
    )


def packetize(payload: bytes, mtu: int) -> list[bytes]:
    """Cut a length-prefixed access unit into RTP payloads of at most `mtu` octets.

    Single NAL unit packets and FU-A (RFC 6184 sections 5.6, 5.8). The marker belongs on the last.

    Raises:
        InvalidInput: `mtu` has no room for a fragment.
        ProtocolError: see `split_nals`.
    """
    if mtu <= _FRAGMENT_HEAD:
        raise InvalidInput(f"{mtu} octets have no room for a fragment", field="mtu")
    out: list[bytes] = []
    for nal in split_nals(payload):
        size = len(nal)
        if size <= mtu:
            out.append(nal)
            continue
        indicator = nal[0] & _KIND_MASK | FU_A
        header = nal[0] & _TYPE_MASK
        start = _FU_START
        at = 1
        while at < size:
            end = min(at + mtu - _FRAGMENT_HEAD, size)
            last = _FU_END if end == size else 0
            out.append(bytes((indicator, header | start | last)) + nal[at:end])
            at = end
            start = 0
    return out


class H264Depacketizer:
    """Puts the RTP payloads of one access unit together (RFC 6184, packetization modes 0 and 1).

    Attributes:
        config: of the parameter sets seen last; a new object only when they change.
        broken: a payload did not fit; the access unit must be dropped.
        has_picture: a coded slice is in it.
        size: octets gathered.
    """

    __slots__ = (
        "_configured",
        "_fragment_at",
        "_fragment_bytes",
        "_is_key",
        "_parts",
        "_rate",
        "_sets",
        "_sets_here",
        "broken",
        "config",
        "has_picture",
        "size",
    )

    def __init__(self, config: CodecConfig | None, rate: int) -> None:
        self.config = config
        self._rate = rate
        self._sets: dict[tuple[int, int], bytes] = {}
        for nal in config.parameter_sets if config else ():
            self._sets[_set_key(nal)] = nal
        self._configured = dict(self._sets)
        self._sets_here: list[bytes] = []
        self._parts: list[bytes] = []
        self._fragment_at = -1
        self._fragment_bytes = 0
        self._is_key = False
        self.broken = False
        self.has_picture = False
        self.size = 0

    def push(self, payload: bytes) -> None:
        """Add the next payload in sequence order; sets `broken` rather than raising."""
        kind = payload[0] & _TYPE_MASK
        if kind == FU_A:
            self._fragment(payload)
        elif self._fragment_at >= 0:
            self.broken = True
        elif kind == STAP_A:
            self._aggregate(payload)
        elif 0 < kind < STAP_A:
            self._whole(payload)
        else:
            self.broken = True

    def take(self) -> tuple[bytes, bool]:
        """Return the access unit and whether it is a key frame, adopt its parameter sets, empty."""
        payload = b"".join(self._parts)
        is_key = self._is_key
        if self._sets_here:
            self._adopt(self._sets_here)
        self.clear()
        return payload, is_key

    def clear(self) -> None:
        """Forget the access unit in work, not the configuration."""
        self._parts = []
        self._sets_here = []
        self._fragment_at = -1
        self._is_key = False
        self.broken = False
        self.has_picture = False
        self.size = 0

    @property
    def complete(self) -> bool:
        """No fragment is open and nothing was malformed."""
        return self._fragment_at < 0 and not self.broken

    def _fragment(self, payload: bytes) -> None:
        size = len(payload) - 2
        if size < 1:
            self.broken = True
            return
        header = payload[1]
        if header & _FU_START:
            if self._fragment_at >= 0 or not 0 < header & _TYPE_MASK < STAP_A:
                self.broken = True
                return
            self._fragment_at = len(self._parts)
            self._parts += (b"", bytes((payload[0] & _KIND_MASK | header & _TYPE_MASK,)))
            self._fragment_bytes = 1
            self._note(header & _TYPE_MASK)
        elif self._fragment_at < 0:
            self.broken = True
            return
        self._parts.append(payload[2:])
        self._fragment_bytes += size
        self.size += size
        if header & _FU_END:
            self._end_fragment(header & _TYPE_MASK)

    def _end_fragment(self, kind: int) -> None:
        at = self._fragment_at
        self._fragment_at = -1
        if kind == ACCESS_UNIT_DELIMITER:
            del self._parts[at:]
            return
        self._parts[at] = self._fragment_bytes.to_bytes(LENGTH_BYTES, "big")
        if kind in (SPS, PPS):
            self._sets_here.append(b"".join(self._parts[at + 1 :]))

    def _aggregate(self, payload: bytes) -> None:
        at = 1
        end = len(payload)
        while at < end:
            start = at + 2
            length = int.from_bytes(payload[at:start], "big")
            at = start + length
            if length == 0 or at > end or not 0 < payload[start] & _TYPE_MASK < STAP_A:
                self.broken = True
                return
            self._whole(payload[start:at])

    def _whole(self, nal: bytes) -> None:
        kind = nal[0] & _TYPE_MASK
        if kind == ACCESS_UNIT_DELIMITER:
            return
        self._note(kind)
        size = len(nal)
        self._parts += (size.to_bytes(LENGTH_BYTES, "big"), nal)
        self.size += size
        if kind in (SPS, PPS):
            self._sets_here.append(nal)

    def _note(self, kind: int) -> None:
        if kind <= IDR_SLICE:
            self.has_picture = True
            if kind == IDR_SLICE:
                self._is_key = True

    def _adopt(self, nals: list[bytes]) -> None:
        """Take over readable sets; a set replaces the former one of the same kind and id."""
        for nal in nals:
            try:
                key = _set_key(nal)
            except InvalidInput:
                continue
            if key in self._sets or len(self._sets) < MOST_PARAMETER_SETS:
                self._sets[key] = nal
        if self._sets == self._configured:
            return
        ordered = [self._sets[key] for key in sorted(self._sets)]
        try:
            self.config = config_from_parameter_sets(ordered, rate=self._rate)
        except InvalidInput:
            return  # SPS and PPS may come in separate units; the second completes them
        self._configured = dict(self._sets)


def _set_key(nal: bytes) -> tuple[int, int]:
    """Return (NAL type, id of the set): a set with the same key replaces the former."""
    kind = nal_type(nal)
    if kind == SPS:
        return kind, parse_sps(nal).sps_id
    bits = BitReader(strip_emulation_prevention(nal[1:]), field="h264.pps")
    return kind, bits.unsigned_exp_golomb()
