"""Keeps background work going: what fails is begun again, and said once per change."""

import random
from collections.abc import Awaitable, Callable

import structlog

from contracts.backoff import Backoff
from contracts.clock import Clock
from contracts.errors import MingjingError

_log = structlog.get_logger(__name__)
_BACKOFF = Backoff(first_s=0.25, most_s=5.0)
_SOUND_AFTER_NS = 30_000_000_000


class Health:
    """Why a part is not well, by part; empty text when it is."""

    def __init__(self, *parts: str) -> None:
        self._reasons = dict.fromkeys(parts, "正在启动")

    def set(self, part: str, reason: str) -> None:
        """Note a part's state; logged when it changes."""
        if self._reasons.get(part) == reason:
            return
        self._reasons[part] = reason
        if reason:
            _log.warning("part_not_ready", part=part, reason=reason)
        else:
            _log.info("part_ready", part=part)

    def reasons(self) -> dict[str, str]:
        """Why each part is not well."""
        return dict(self._reasons)


async def keep(
    name: str, work: Callable[[], Awaitable[None]], *, clock: Clock, health: Health
) -> None:
    """Run work that should never end; begin it again after a growing, jittered delay.

    Only this supervisor catches everything: an error of ours is a state to report, any other one a
    fault to log with its trace, and neither may stop the other parts.
    """
    attempt = 0
    while True:
        began = clock.monotonic_ns()
        try:
            await work()
        except MingjingError as exc:
            health.set(name, str(exc))
        except Exception as exc:  # noqa: BLE001 - the supervisor's one broad catch
            _log.exception("background_work_failed", name=name)
            health.set(name, f"{type(exc).__name__}: {exc}")
        if clock.monotonic_ns() - began > _SOUND_AFTER_NS:
            attempt = 0
        await clock.sleep(_BACKOFF.delay(attempt, random=random.random()))  # noqa: S311 - jitter
        attempt += 1
