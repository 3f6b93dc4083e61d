"""The part of SDP (RFC 8866) that an RTSP client reads of a camera."""

import base64
import binascii
from dataclasses import dataclass, field, replace

from contracts.errors import InvalidInput
from contracts.media.access_unit import Codec, CodecConfig
from contracts.media.h264 import config_from_parameter_sets

MOST_SDP_BYTES = 64 << 10
MOST_MEDIA = 16

_CODECS: dict[str, Codec] = {
    "H264": "h264",
    "H265": "h265",
    "HEVC": "h265",
    "PCMA": "pcma",
    "PCMU": "pcmu",
    "OPUS": "opus",
    "MPEG4-GENERIC": "aac",
}
_STATIC_TYPES = {0: ("PCMU", 8000), 8: ("PCMA", 8000)}
"""Payload types that need no rtpmap (RFC 3551 section 6)."""
_H265_SETS = ("sprop-vps", "sprop-sps", "sprop-pps")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDescription:
    """One ``m=`` section with its first payload type.

    Attributes:
        kind: ``video``, ``audio``, ``application`` …
        payload_type: first format of the line.
        encoding: upper-case name of rtpmap, e.g. ``H264``; empty when unknown.
        rate: RTP clock, 0 when unknown.
        channels: of audio, 1 when not said.
        parameters: of fmtp, names in lower case.
        control: URL of SETUP, absolute or relative; empty when not said.
        frame_rate: pictures per second, 0.0 when not said.
    """

    kind: str
    payload_type: int
    encoding: str = ""
    rate: int = 0
    channels: int = 1
    parameters: dict[str, str] = field(default_factory=dict)
    control: str = ""
    frame_rate: float = 0.0

    @property
    def codec(self) -> Codec | None:
        """Our name of the codec; None when we cannot carry it."""
        codec = _CODECS.get(self.encoding)
        if codec == "aac" and self.parameters.get("mode", "").lower() != "aac-hbr":
            return None
        return codec


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """What DESCRIBE answered: the aggregate control URL and the media in order."""

    control: str
    media: tuple[MediaDescription, ...]


def parse_sdp(text: str) -> SessionDescription:
    """Read a session description, skipping the lines we do not need.

    Raises:
        InvalidInput: too long, no media, or a value that cannot be read; names the line's kind.
    """
    if len(text) > MOST_SDP_BYTES:
        raise InvalidInput(f"{len(text)} characters exceed {MOST_SDP_BYTES}", field="sdp")
    session_control = ""
    media: list[MediaDescription] = []
    for raw in text.splitlines():
        kind, mark, value = raw.strip().partition("=")
        if not mark:
            continue
        if kind == "m":
            if len(media) == MOST_MEDIA:
                raise InvalidInput(f"more than {MOST_MEDIA} media", field="sdp.m")
            media.append(_media_line(value))
        elif kind == "a" and media:
            media[-1] = _with_attribute(media[-1], value)
        elif kind == "a" and value.startswith("control:"):
            session_control = value.removeprefix("control:").strip()
    if not media:
        raise InvalidInput("describes no media", field="sdp.m")
    return SessionDescription(control=session_control, media=tuple(media))


def codec_config(media: MediaDescription) -> CodecConfig | None:
    """Return the decoder's configuration as far as the SDP tells it; None when it does not.

    Raises:
        InvalidInput: a codec we cannot carry, or parameter sets that cannot be read.
    """
    codec = media.codec
    if codec is None:
        raise InvalidInput(f"{media.encoding or media.payload_type} is not supported", field="sdp")
    if codec == "h264":
        sets = _base64_list(media, "sprop-parameter-sets")
        return config_from_parameter_sets(sets, rate=media.rate) if sets else None
    if codec == "h265":
        sets = [nal for name in _H265_SETS for nal in _base64_list(media, name)]
        if len(sets) < len(_H265_SETS):
            return None
        return CodecConfig(codec=codec, rate=media.rate, parameter_sets=tuple(sets))
    sets = []
    if codec == "aac":
        try:
            sets = [bytes.fromhex(media.parameters.get("config", ""))]
        except ValueError as exc:
            raise InvalidInput("is not hexadecimal", field="sdp.fmtp.config") from exc
        if not sets[0]:
            raise InvalidInput("is missing", field="sdp.fmtp.config")
    return CodecConfig(
        codec=codec, rate=media.rate, parameter_sets=tuple(sets), channels=media.channels
    )


def _base64_list(media: MediaDescription, name: str) -> list[bytes]:
    try:
        parts = [
            base64.b64decode(part + "=" * (-len(part) % 4), validate=True)
            for part in media.parameters.get(name, "").split(",")
        ]
    except (binascii.Error, ValueError) as exc:
        raise InvalidInput("is not base64", field=f"sdp.fmtp.{name}") from exc
    return [part for part in parts if part]


def _media_line(value: str) -> MediaDescription:
    parts = value.split()
    if len(parts) < 4:  # noqa: PLR2004 - kind, port, protocol, format
        raise InvalidInput(f"{value!r} lacks a format", field="sdp.m")
    payload_type = _number(parts[3], "sdp.m.format", 127)
    encoding, rate = _STATIC_TYPES.get(payload_type, ("", 0))
    return MediaDescription(
        kind=parts[0].lower(), payload_type=payload_type, encoding=encoding, rate=rate
    )


def _with_attribute(media: MediaDescription, value: str) -> MediaDescription:
    name, _, rest = value.partition(":")
    rest = rest.strip()
    match name:
        case "control":
            return replace(media, control=rest)
        case "rtpmap" if (of := _of_payload_type(media, rest)) is not None:
            return _with_rtpmap(media, of)
        case "fmtp" if (of := _of_payload_type(media, rest)) is not None:
            return replace(media, parameters=_parameters(of))
        case "framerate":
            return replace(media, frame_rate=_frame_rate(rest))
        case _:
            return media


def _of_payload_type(media: MediaDescription, value: str) -> str | None:
    """Return what follows the payload type when it is this media's first one."""
    number, _, rest = value.partition(" ")
    return rest.strip() if number == str(media.payload_type) else None


def _with_rtpmap(media: MediaDescription, value: str) -> MediaDescription:
    parts = value.split("/")
    if len(parts) < 2:  # noqa: PLR2004 - encoding and clock
        raise InvalidInput(f"{value!r} lacks a clock rate", field="sdp.rtpmap")
    rate = _number(parts[1], "sdp.rtpmap.rate", 1_000_000)
    if rate == 0:
        raise InvalidInput("is 0", field="sdp.rtpmap.rate")
    channels = _number(parts[2], "sdp.rtpmap.channels", 64) if len(parts) > 2 else 1  # noqa: PLR2004
    return replace(media, encoding=parts[0].strip().upper(), rate=rate, channels=channels)


def _parameters(value: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in value.split(";"))
    return {name.strip().lower(): text.strip() for name, mark, text in pairs if mark}


def _frame_rate(value: str) -> float:
    """Read ``25``, ``25.000000`` or ``*25``, as cameras write it; nonsense counts as unsaid."""
    try:
        rate = float(value.lstrip("*"))
    except ValueError:
        return 0.0
    return rate if 0 < rate < 1000 else 0.0  # noqa: PLR2004 - no camera is faster


def _number(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > most:  # noqa: PLR2004
        raise InvalidInput(f"{text!r} is no number up to {most}", field=name)
    return int(text)
