from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.timestamps import NS, MediaTime, WallTime
from gateway.core.source_state import SourceState
from gateway.core.stream_events import SourceDown, SourceUp

T0 = 1_790_000_000 * NS


def at(seconds: float) -> WallTime:
    return WallTime(T0 + int(seconds * NS))


def unit(seconds: float, codec: str = "h264") -> AccessUnit:
    return AccessUnit(
        config=CodecConfig(codec=codec, rate=90_000),
        key=True,
        media_time=MediaTime(0),
        captured_at=None,
        arrived_at=at(seconds),
        payload=b"",
    )


def delivering() -> SourceState:
    source = SourceState(now=at(0))
    source.session_began("a")
    assert source.unit(unit(1)) == SourceUp(at=at(1), session="a")
    return source


def test_starts_as_not_started_and_is_up_with_the_first_unit() -> None:
    """An agreed session alone records nothing, so the gap lasts until media comes."""
    source = SourceState(now=at(0))
    assert source.down == SourceDown(at=at(0), cause="not_started")
    source.session_began("a")
    assert source.poll(now=at(60)) is None
    assert source.unit(unit(61)) == SourceUp(at=at(61), session="a")
    assert source.unit(unit(62)) is None


def test_silence_is_dated_back_to_the_last_unit() -> None:
    """The gap begins where media ended, not where it was noticed."""
    source = delivering()
    assert source.poll(now=at(3.9)) is None
    assert source.poll(now=at(4.1)) == SourceDown(at=at(1), cause="no_media")
    assert source.poll(now=at(9)) is None
    assert source.unit(unit(10)) == SourceUp(at=at(10), session="a")


def test_the_device_knows_why() -> None:
    """A reported cause explains the silence, before or after it is noticed."""
    before = delivering()
    assert before.report("camera_unreachable", "拔线", now=at(2)) is None
    assert before.poll(now=at(5)) == SourceDown(at=at(1), cause="camera_unreachable", detail="拔线")
    after = delivering()
    after.poll(now=at(5))
    assert after.report("camera_unreachable", "拔线", now=at(6)) == SourceDown(
        at=at(6), cause="camera_unreachable", detail="拔线"
    )


def test_a_cause_is_forgotten_when_media_returns() -> None:
    """Yesterday's unplugged camera does not explain today's silence."""
    source = delivering()
    source.report("camera_unreachable", "", now=at(2))
    source.poll(now=at(5))
    source.unit(unit(10))
    assert source.poll(now=at(20)) == SourceDown(at=at(10), cause="no_media")


def test_session_end_is_agent_disconnected() -> None:
    """The agent went away while media came: the gap begins at the last unit."""
    source = delivering()
    assert source.session_ended("a", "DTLS", now=at(2)) == SourceDown(
        at=at(1), cause="agent_disconnected", detail="DTLS"
    )


def test_a_replaced_session_ends_without_effect() -> None:
    """The new session of the same device goes on; units tell that media time starts anew."""
    source = delivering()
    source.session_began("b")
    assert source.session_ended("a", "", now=at(2)) is None
    assert source.unit(unit(2)) == SourceUp(at=at(2), session="b")


def test_audio_alone_does_not_hide_a_dead_picture() -> None:
    """A camera whose picture stopped does not deliver, whatever its microphone sends."""
    source = delivering()
    assert source.unit(unit(5, "pcma")) is None
    assert source.poll(now=at(5)) == SourceDown(at=at(1), cause="no_media")
    assert source.unit(unit(6, "pcma")) is None
