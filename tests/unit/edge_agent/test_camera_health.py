import pytest

from contracts.clock import ManualClock
from contracts.errors import InvalidInput, ProtocolError, Unavailable
from contracts.timestamps import NS
from edge_agent.core.camera_health import CameraFailure, MediaProgress, explain, judge
from edge_agent.core.camera_quirks import CameraQuirks, parse_quirks
from edge_agent.core.rtsp_session import RequestRefused
from edge_agent.drivers.rtsp_camera import CameraOptions, RtspCamera
from edge_agent.ports import DriverParts
from edge_agent.profiles import load_profile, profile_files
from tests.fakes.device_sinks import FakeEventSink, FakeHealth
from tests.fakes.media_sink import FakeMediaSink


def progress(**seen) -> MediaProgress:
    return MediaProgress(**{"where": "10.0.0.9:554", "media_ns": 0, "key_ns": 0} | seen)


@pytest.mark.parametrize(
    ("seen", "at_s", "health", "cause"),
    [
        ({"is_up": True}, 1, "online", "ok"),
        ({}, 1, "offline", "starting"),
        ({"media_ns": 11 * NS}, 11, "offline", "no_key_frames"),
        ({"media_ns": 11 * NS, "is_up": True}, 11, "degraded", "no_key_frames"),
        ({"is_up": True, "remarks": ["声音"]}, 1, "degraded", "unsupported_codec"),
        ({"is_up": True, "offset_ms": -31_000}, 1, "degraded", "clock_wrong"),
        ({"is_up": True, "offset_ms": 29_000}, 1, "online", "ok"),
    ],
)
def test_judgement(seen, at_s, health, cause) -> None:
    assert judge(progress(**seen), at_s * NS)[:2] == (health, cause)


@pytest.mark.parametrize(
    ("seen", "at_s", "cause"),
    [
        ({}, 6, "no_media"),
        ({"media_ns": 41 * NS}, 41, "no_key_frames"),
        ({"malformed": 201}, 1, "protocol_garbage"),
    ],
)
def test_hopeless_sessions_end(seen, at_s, cause) -> None:
    with pytest.raises(CameraFailure) as caught:
        judge(progress(**seen), at_s * NS)
    assert caught.value.cause == cause
    assert "10.0.0.9:554" in caught.value.detail


@pytest.mark.parametrize(
    ("error", "was_up", "cause"),
    [
        (RequestRefused("DESCRIBE", 401, ""), False, "bad_credentials"),
        (RequestRefused("DESCRIBE", 403, ""), False, "bad_credentials"),
        (RequestRefused("DESCRIBE", 404, ""), False, "unreachable"),
        (RequestRefused("DESCRIBE", 302, ""), False, "unreachable"),
        (ProtocolError("x", field="rtsp.head"), True, "protocol_garbage"),
        (TimeoutError(), False, "unreachable"),
        (ConnectionRefusedError(111, "Connection refused"), False, "unreachable"),
        (ConnectionResetError("gone"), True, "connection_lost"),
        (Unavailable("silent"), False, "unreachable"),
    ],
)
def test_every_error_has_a_cause_and_one_line(error, was_up, cause) -> None:
    failure = explain(error, "10.0.0.9:554", was_up=was_up)
    assert failure.cause == cause
    assert "10.0.0.9:554" in failure.detail
    assert "\n" not in failure.detail


def test_a_refused_transport_asks_for_the_other() -> None:
    refused = explain(RequestRefused("SETUP", 461, ""), "x", was_up=False)
    assert refused.wants_other_transport


@pytest.mark.parametrize(
    ("quirks", "field"),
    [
        ({"main_path": "no-slash"}, "quirks.main_path"),
        ({"transport": "pigeon"}, "quirks.transport"),
        ({"audio": "yes"}, "quirks.audio"),
        ({"colour": "red"}, "quirks.colour"),
    ],
)
def test_wrong_quirks_are_named(quirks, field) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_quirks(quirks)
    assert caught.value.field == field
    assert parse_quirks({}) == CameraQuirks()


def camera(options: CameraOptions, profile: str) -> RtspCamera:
    return RtspCamera(
        options,
        DriverParts(
            site="demo",
            device="cam",
            profile=load_profile(profile, driver="rtsp_camera"),
            media={"main": FakeMediaSink(), "sub": FakeMediaSink()},
            events=FakeEventSink(),
            health=FakeHealth(),
            clock=ManualClock(),
            random=lambda: 0.5,
        ),
    )


@pytest.mark.parametrize("name", ["generic-rtsp", "hikvision", "dahua", "uniview"])
def test_the_driver_takes_every_camera_profile(name: str) -> None:
    assert name in profile_files()
    for stream in ("main", "sub"):
        options = CameraOptions(host="10.0.0.9", stream=stream)
        assert RtspCamera.streams(options) == (stream,)
        if name == "generic-rtsp" and stream == "sub":
            with pytest.raises(InvalidInput, match="sub"):
                camera(options, name)
        else:
            camera(options, name)


def test_neither_url_nor_host_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="url"):
        camera(CameraOptions(), "generic-rtsp")
