"""What a peer's SDP offer asks for, checked before aiortc sees it.

aiortc settles a codec mismatch silently, and an offer that breaks its parser raises whatever
comes first. Here each fault has a name, so that the API can answer with it.
"""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiortc import sdp as aiortc_sdp

from contracts.errors import InvalidInput
from contracts.media.access_unit import Codec
from gateway.core.media_errors import CodecMismatch

_CODECS: dict[str, Codec] = {
    "video/h264": "h264",
    "audio/pcma": "pcma",
    "audio/pcmu": "pcmu",
    "audio/opus": "opus",
}
_MOST_SECTIONS = 2
_UNWANTED = re.compile(
    r"^a=(?:end-of-candidates|candidate:.*\s\S+\.local\s.*)\r?\n?", re.MULTILINE | re.IGNORECASE
)
"""mDNS names (browsers hide their addresses) would need multicast to resolve; the browser's own
checks tell us its address. Hence the offered candidates are not all there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadType:
    """One entry of an ``m=`` line that matters to us: a codec, or the retransmissions of one.

    `base` is the payload type that is retransmitted; the entry's own number otherwise.
    """

    number: int
    codec: Codec
    rate: int
    base: int

    @property
    def is_rtx(self) -> bool:
        """Whether it carries retransmissions (RFC 4588)."""
        return self.base != self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSection:
    """One ``m=`` section.

    Attributes:
        kind: ``video`` or ``audio``.
        direction: of the side that wrote it.
        payload_types: those of codecs we know, in the writer's order.
        ssrcs: announced sources; the second of two is the retransmissions'.
    """

    kind: str
    direction: str
    payload_types: tuple[PayloadType, ...]
    ssrcs: tuple[int, ...]

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """Codecs in the writer's order, each once."""
        return tuple(dict.fromkeys(p.codec for p in self.payload_types if not p.is_rtx))

    def first(self, codec: Codec) -> PayloadType:
        """The payload type its writer likes best for a codec.

        Raises:
            CodecMismatch: there is none.
        """
        for payload_type in self.payload_types:
            if payload_type.codec == codec and not payload_type.is_rtx:
                return payload_type
        raise CodecMismatch(f"对方不支持 {codec} (the peer does not speak it)", field="sdp")


def read_sections(text: str) -> list[MediaSection]:
    """Read the media sections of a session description.

    Raises:
        InvalidInput: not SDP, no media, more than one of a kind, or not bundled.
    """
    try:
        session = aiortc_sdp.SessionDescription.parse(text)
        sections = [_section(media) for media in session.media]
    except (ValueError, LookupError, AssertionError, TypeError, AttributeError) as exc:
        raise InvalidInput(
            "不是可用的 SDP (not a usable session description)", field="sdp"
        ) from exc
    except StopIteration as exc:
        raise InvalidInput("names an unknown payload type", field="sdp") from exc
    kinds = [section.kind for section in sections]
    if not sections or len(sections) > _MOST_SECTIONS or len(set(kinds)) != len(kinds):
        raise InvalidInput(
            "需要一路视频、至多一路音频 (needs one video and at most one audio section)",
            field="sdp.media",
        )
    if len(sections) > 1 and not any(group.semantic == "BUNDLE" for group in session.group):
        raise InvalidInput("all media must be bundled (RFC 8843)", field="sdp.group")
    return sections


def without_unwanted_candidates(text: str) -> str:
    """The offer without mDNS candidates and without the claim that no more will come."""
    return _UNWANTED.sub("", text)


def section_of(sections: Iterable[MediaSection], kind: str) -> MediaSection | None:
    """The section of a kind, or None."""
    return next((section for section in sections if section.kind == kind), None)


def _section(media: aiortc_sdp.MediaDescription) -> MediaSection:
    if media.kind not in ("audio", "video"):
        raise ValueError(media.kind)
    known: dict[int, PayloadType] = {}
    for entry in media.rtp.codecs:
        name, number = entry.mimeType.lower(), int(entry.payloadType or 0)
        codec = _CODECS.get(name)
        if codec is not None:
            known[number] = PayloadType(
                number=number, codec=codec, rate=entry.clockRate, base=number
            )
        elif name == "video/rtx" and (base := known.get(_apt(entry.parameters))) is not None:
            known[number] = dataclasses.replace(base, number=number)
    return MediaSection(
        kind=media.kind,
        direction=media.direction or "sendrecv",
        payload_types=tuple(known.values()),
        ssrcs=tuple(source.ssrc for source in media.ssrc),
    )


def _apt(parameters: dict[str, int | str | None]) -> int:
    """Which payload type a retransmission payload type is for (RFC 4588 section 8.1)."""
    apt = parameters.get("apt")
    return apt if isinstance(apt, int) else -1
