"""When a spool is healthy, full, or must refuse: arithmetic over its level.

Evidence is never dropped. A spool that nears its bound says so early; above the second mark it
refuses new events, because a terminal keeps what it was not told is safe, and a record refused is
better than a record lost.
"""

from dataclasses import dataclass

from contracts.timestamps import NS, WallTime
from contracts.wire.devices import Health, HealthCause

_HUNDRED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLimits:
    """Bounds of one device's spool.

    Attributes:
        most_bytes: envelopes awaiting the gateway may fill this much.
        warn_percent: from here on the spool is reported as filling.
        refuse_percent: from here on events are refused.
        warn_age_s: an event that waits longer is reported.
        seen_keys: how many keys of accepted events are remembered; more than a terminal stores.
    """

    most_bytes: int = 256 * 1024 * 1024
    warn_percent: int = 70
    refuse_percent: int = 90
    warn_age_s: int = 7 * 86_400
    seen_keys: int = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLevel:
    """How full one device's spool is; `oldest_ns` is None when nothing waits."""

    pending: int
    pending_bytes: int
    oldest_ns: WallTime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolVerdict:
    """What follows from a level; `detail` is for an operator."""

    accepts: bool
    health: Health
    cause: HealthCause
    detail: str = ""


def has_room(pending_bytes: int, limits: SpoolLimits) -> bool:
    """Whether one more event may be accepted."""
    return pending_bytes * _HUNDRED < limits.most_bytes * limits.refuse_percent


def judge(level: SpoolLevel, limits: SpoolLimits, *, now: int) -> SpoolVerdict:
    """Say how a spool fares at wall time `now`."""
    percent = level.pending_bytes * _HUNDRED // limits.most_bytes
    waiting = f"{level.pending} 条事件待上传，占用 {percent}%"
    if not has_room(level.pending_bytes, limits):
        return SpoolVerdict(
            accepts=False,
            health="degraded",
            cause="spool_full",
            detail=f"本地缓存已满（{waiting}），暂停接收新事件：请检查到网关的网络",
        )
    if percent >= limits.warn_percent:
        return SpoolVerdict(
            accepts=True,
            health="degraded",
            cause="spool_full",
            detail=f"本地缓存将满（{waiting}）：请检查到网关的网络",
        )
    if level.oldest_ns is not None and now - level.oldest_ns > limits.warn_age_s * NS:
        days = (now - level.oldest_ns) // NS // 86_400
        return SpoolVerdict(
            accepts=True,
            health="degraded",
            cause="gateway_unreachable",
            detail=f"最早的事件已等待 {days} 天（{waiting}）：请检查到网关的网络",
        )
    return SpoolVerdict(accepts=True, health="online", cause="ok")
