"""How a device fares, from what it said, when it was last heard and what we had to refuse."""

from dataclasses import dataclass

from contracts.timestamps import NS, WallTime
from contracts.wire.devices import DeviceState, Health, HealthCause
from contracts.wire.footage import GapCause

SILENT_AFTER_NS = 30 * NS
"""Devices repeat their state every ten seconds; three missed ones mean offline."""

_GAP_CAUSES: dict[HealthCause, GapCause] = {
    "unreachable": "camera_unreachable",
    "bad_credentials": "camera_unreachable",
    "unsupported_codec": "no_media",
    "no_key_frames": "no_media",
    "no_media": "no_media",
    "protocol_garbage": "no_media",
    "connection_lost": "agent_disconnected",
    "stopped": "agent_disconnected",
    "gateway_unreachable": "agent_disconnected",
    "gateway_refused": "agent_disconnected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What is known of one device.

    Attributes:
        state: the last state it published; None before the first.
        seen: when anything was last heard of it.
        refused: why its last event was refused; empty when it was taken.
    """

    state: DeviceState | None = None
    seen: WallTime
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A device's health with its cause and one line for an operator."""

    health: Health
    cause: HealthCause
    detail: str = ""


def condition_of(sighting: Sighting, *, now: WallTime, heard_since: WallTime) -> Condition:
    """Judge a device.

    Args:
        sighting: what is known of it.
        now: wall time.
        heard_since: since when we can hear devices at all. Silence before that proves nothing.
    """
    state = sighting.state
    if state is not None and state.health == "offline":
        return Condition(health="offline", cause=state.cause, detail=state.detail)
    if now - max(sighting.seen, heard_since) > SILENT_AFTER_NS:
        return Condition(
            health="offline",
            cause="connection_lost",
            detail=f"超过 {SILENT_AFTER_NS // NS} 秒没有消息：检查采集端和网络 "
            "(silent: check agent and network)",
        )
    if sighting.refused:
        return Condition(health="degraded", cause="gateway_refused", detail=sighting.refused[:500])
    if state is None:
        return Condition(health="degraded", cause="starting")
    return Condition(health=state.health, cause=state.cause, detail=state.detail)


def gap_cause(condition: Condition) -> GapCause | None:
    """Why a camera in this condition sends no media; None when it should."""
    if condition.health == "online" or condition.cause in {"ok", "starting"}:
        return None
    return _GAP_CAUSES.get(condition.cause)
