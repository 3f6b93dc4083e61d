"""Retry delays as arithmetic: exponential, capped, jittered so that a site never knocks in step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays of a retry loop, in seconds."""

    first_s: float = 0.5
    factor: float = 2.0
    most_s: float = 15.0
    jitter: float = 0.5

    def delay(self, attempt: int, *, random: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 0).

        Args:
            attempt: failures so far, minus one.
            random: a number in [0, 1) drawn by the caller.
        """
        full = min(self.most_s, self.first_s * self.factor ** min(attempt, 32))
        return full * (1 - self.jitter * random)
