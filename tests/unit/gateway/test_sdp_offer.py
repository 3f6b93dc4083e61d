import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidInput
from gateway.adapters.webrtc.offer import read_sections, section_of, without_unwanted_candidates
from gateway.core.media_errors import CodecMismatch

OFFER = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111 8
c=IN IP4 0.0.0.0
a=mid:0
a=recvonly
a=rtcp-mux
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 00:11
a=setup:actpass
a=rtpmap:111 opus/48000/2
a=rtpmap:8 PCMA/8000
m=video 9 UDP/TLS/RTP/SAVPF 96 102 103 108
c=IN IP4 0.0.0.0
a=mid:1
a=recvonly
a=rtcp-mux
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 00:11
a=setup:actpass
a=candidate:1 1 udp 2113937151 0c9b7b8a-1f3e.local 51234 typ host
a=candidate:2 1 udp 2113937151 127.0.0.1 51235 typ host
a=end-of-candidates
a=rtpmap:96 VP8/90000
a=rtpmap:102 H264/90000
a=fmtp:102 packetization-mode=1;profile-level-id=42001f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=rtpmap:108 rtx/90000
a=fmtp:108 apt=96
a=ssrc:1111 cname:x
""".replace("\n", "\r\n")


def test_sections_hold_what_matters() -> None:
    """Codecs in the writer's order, retransmissions with their base, sources."""
    audio, video = read_sections(OFFER)
    assert audio.codecs == ("opus", "pcma")
    assert video.codecs == ("h264",)
    assert [(p.number, p.base, p.is_rtx) for p in video.payload_types] == [
        (102, 102, False),
        (103, 102, True),
    ]
    assert (video.direction, video.ssrcs) == ("recvonly", (1111,))
    assert video.first("h264").rate == 90_000
    with pytest.raises(CodecMismatch, match="opus"):
        video.first("opus")


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "v=0",
        OFFER.replace("a=group:BUNDLE 0 1\r\n", ""),
        OFFER.replace("m=audio", "m=video"),
        OFFER.replace("m=audio", "m=application"),
        OFFER.replace("a=rtpmap:103 rtx/90000", "a=rtpmap:103"),
        OFFER.replace("typ host", "typ"),
    ],
)
def test_unusable_offers_are_named(broken: str) -> None:
    """Whatever is wrong, the answer is an error about the SDP, not a crash."""
    with pytest.raises(InvalidInput, match="sdp"):
        read_sections(broken)


def test_names_that_need_multicast_are_taken_out() -> None:
    """mDNS candidates and the claim of completeness go; real addresses stay."""
    kept = without_unwanted_candidates(OFFER)
    assert ".local" not in kept
    assert "end-of-candidates" not in kept
    assert "127.0.0.1 51235" in kept
    assert section_of(read_sections(kept), "video") is not None


@given(st.text(alphabet=OFFER, max_size=400), st.integers(0, len(OFFER)))
def test_any_text_gives_sections_or_an_error(noise: str, at: int) -> None:
    """Offers are hostile input."""
    try:
        read_sections(OFFER[:at] + noise + OFFER[at:])
    except InvalidInput as exc:
        assert exc.field.startswith("sdp")
