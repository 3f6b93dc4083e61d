"""RTP payloads of audio: G.711 and Opus (one frame a packet), AAC-hbr (RFC 3640)."""

from typing import Protocol

from contracts.errors import InvalidInput, ProtocolError
from contracts.media.access_unit import CodecConfig
from contracts.media.bits import BitReader

_AAC_SAMPLING_RATES = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
_EXPLICIT_RATE = 15
_ESCAPED_OBJECT_TYPE = 31
_HEADER_OCTETS = 2
_SIZE_SHIFT = 3
_MOST_FRAGMENTED_BYTES = 8191
"""AU-size has 13 bits."""


class AudioDepacketizer(Protocol):
    """Turns payloads in sequence order into frames."""

    def push(self, payload: bytes, *, marker: bool) -> list[tuple[int, bytes]]:
        """Return (ticks after the packet's timestamp, frame) for each frame now complete.

        Raises:
            ProtocolError: the payload breaks its format; what was begun is forgotten.
        """
        ...

    def clear(self) -> None:
        """Forget a frame in work: packets are missing."""
        ...


class WholeFrames:
    """PCMA, PCMU (RFC 3551 section 4.5.14) and Opus (RFC 7587): the payload is the frame."""

    def push(self, payload: bytes, *, marker: bool) -> list[tuple[int, bytes]]:
        """Return the payload as one frame."""
        del marker
        return [(0, payload)]

    def clear(self) -> None:
        """Keep nothing, forget nothing."""


class AacFrames:
    """AAC-hbr: sizeLength 13, indexLength 3, indexDeltaLength 3, no interleaving (RFC 3640 3.3.6).

    A packet holds several whole frames, or one fragment of a frame.
    """

    def __init__(self, frame_ticks: int) -> None:
        self._frame_ticks = frame_ticks
        self._fragments: list[bytes] = []
        self._wanted = 0

    def push(self, payload: bytes, *, marker: bool) -> list[tuple[int, bytes]]:
        """Split a packet into frames; see `AudioDepacketizer.push`."""
        sizes, at = self._headers(payload)
        if len(sizes) == 1 and sizes[0] > len(payload) - at:
            return self._fragment(payload[at:], sizes[0], marker=marker)
        if self._fragments:
            return self._fragment(payload[at:], sizes[0], marker=marker)
        frames = []
        for index, size in enumerate(sizes):
            if size == 0 or at + size > len(payload):
                raise ProtocolError(f"a frame of {size} octets at {at}", field="aac.au_size")
            frames.append((index * self._frame_ticks, payload[at : at + size]))
            at += size
        return frames

    def clear(self) -> None:
        """Forget the fragments gathered."""
        self._fragments = []

    def _headers(self, payload: bytes) -> tuple[list[int], int]:
        if len(payload) < _HEADER_OCTETS:
            raise ProtocolError(f"{len(payload)} octets", field="aac.au_headers")
        bits = int.from_bytes(payload[:_HEADER_OCTETS], "big")
        end = _HEADER_OCTETS + (bits + 7) // 8
        if bits == 0 or bits % (8 * _HEADER_OCTETS) or end > len(payload):
            raise ProtocolError(f"{bits} bits of headers", field="aac.au_headers_length")
        sizes = [
            int.from_bytes(payload[at : at + _HEADER_OCTETS], "big") >> _SIZE_SHIFT
            for at in range(_HEADER_OCTETS, end, _HEADER_OCTETS)
        ]
        return sizes, end

    def _fragment(self, part: bytes, size: int, *, marker: bool) -> list[tuple[int, bytes]]:
        if not self._fragments:
            self._wanted = size
        self._fragments.append(part)
        gathered = sum(map(len, self._fragments))
        if gathered < self._wanted and not marker:
            return []
        frame = b"".join(self._fragments)
        self._fragments = []
        if gathered != self._wanted or gathered > _MOST_FRAGMENTED_BYTES:
            raise ProtocolError(f"{gathered} of {self._wanted} octets", field="aac.fragment")
        return [(0, frame)]


def aac_frame_ticks(config: CodecConfig) -> int:
    """Return how many RTP ticks one frame lasts, from the AudioSpecificConfig (ISO 14496-3).

    HE-AAC runs its core at half the rate of the RTP clock, so a frame lasts 2048 ticks there.

    Raises:
        InvalidInput: no AudioSpecificConfig, or one that cannot be read.
    """
    if not config.parameter_sets:
        raise InvalidInput("has no AudioSpecificConfig", field="config.parameter_sets")
    bits = BitReader(config.parameter_sets[0], field="aac.audio_specific_config")
    if bits.read(5) == _ESCAPED_OBJECT_TYPE:
        bits.read(6)
    index = bits.read(4)
    if index == _EXPLICIT_RATE:
        sampling_rate = bits.read(24)
    elif index < len(_AAC_SAMPLING_RATES):
        sampling_rate = _AAC_SAMPLING_RATES[index]
    else:
        sampling_rate = 0
    if sampling_rate == 0:
        raise InvalidInput(f"sampling rate index {index}", field="aac.audio_specific_config")
    bits.read(4)  # channelConfiguration
    samples = 960 if bits.left and bits.flag() else 1024
    return samples * config.rate // sampling_rate


def audio_depacketizer(config: CodecConfig) -> AudioDepacketizer:
    """Return what reads the payloads of an audio configuration.

    Raises:
        InvalidInput: AAC without a readable AudioSpecificConfig.
    """
    return AacFrames(aac_frame_ticks(config)) if config.codec == "aac" else WholeFrames()
