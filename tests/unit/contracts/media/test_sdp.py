import base64

import pytest

from contracts.errors import InvalidInput
from contracts.media.sdp import codec_config, parse_sdp

SPS = bytes.fromhex("674d4028da01e0089f961000000300100000030320f1832a")
PPS = bytes.fromhex("68ce0fc8")
SETS = f"{base64.b64encode(SPS).decode()},{base64.b64encode(PPS).decode()}"
CAMERA = f"""v=0\r
o=- 1 1 IN IP4 0.0.0.0\r
s=Media Presentation\r
t=0 0\r
a=control:*\r
m=video 0 RTP/AVP 96\r
a=rtpmap:96 H264/90000\r
a=fmtp:96 packetization-mode=1;profile-level-id=4D0028; sprop-parameter-sets={SETS}\r
a=framerate:25.000000\r
a=control:trackID=1\r
m=audio 0 RTP/AVP 8\r
a=control:trackID=2\r
m=application 0 RTP/AVP 107\r
a=rtpmap:107 vnd.onvif.metadata/90000\r
"""


def test_a_camera() -> None:
    session = parse_sdp(CAMERA)
    assert session.control == "*"
    video, audio, metadata = session.media
    assert (video.kind, video.codec, video.rate, video.payload_type) == (
        "video", "h264", 90_000, 96,
    )  # fmt: skip
    assert (video.control, video.frame_rate) == ("trackID=1", 25.0)
    config = codec_config(video)
    assert config is not None
    assert config.parameter_sets == (SPS, PPS)
    assert (config.width, config.height) == (1920, 1080)
    assert (audio.codec, audio.rate, audio.channels) == ("pcma", 8000, 1)
    assert metadata.codec is None
    with pytest.raises(InvalidInput, match=r"VND\.ONVIF\.METADATA"):
        codec_config(metadata)


def test_without_parameter_sets_there_is_no_configuration_yet() -> None:
    video = parse_sdp("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000").media[0]
    assert codec_config(video) is None


def test_aac() -> None:
    text = (
        "m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/16000/1\n"
        "a=fmtp:97 streamtype=5;mode=AAC-hbr;sizelength=13;config=1408"
    )
    audio = parse_sdp(text).media[0]
    config = codec_config(audio)
    assert config is not None
    assert (config.codec, config.parameter_sets) == ("aac", (b"\x14\x08",))
    assert parse_sdp(text.replace("AAC-hbr", "AAC-lbr")).media[0].codec is None
    with pytest.raises(InvalidInput, match="config"):
        codec_config(parse_sdp(text.replace("1408", "14x8")).media[0])


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("v=0\r\n", "sdp.m"),
        ("m=video 0 RTP/AVP", "sdp.m"),
        ("m=video 0 RTP/AVP abc", "sdp.m.format"),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 H264", "sdp.rtpmap"),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/0", "sdp.rtpmap.rate"),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/-1", "sdp.rtpmap.rate"),
        ("m=a 0 b 1\n" * 17, "sdp.m"),
        ("x" * 70_000, "sdp"),
    ],
)
def test_errors_name_the_field(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_sdp(text)
    assert caught.value.field == field


def test_bad_base64_names_its_parameter() -> None:
    video = parse_sdp(CAMERA.replace(SETS, "Z01*,aO4=")).media[0]
    with pytest.raises(InvalidInput, match=r"sdp\.fmtp\.sprop-parameter-sets"):
        codec_config(video)
