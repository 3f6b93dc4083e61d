"""Small real implementations of the agent's `EventSink` and `HealthReporter`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import Unavailable
from contracts.timestamps import ClockQuality, WallTime
from contracts.wire.devices import Health, HealthCause


@dataclass
class FakeEventSink:
    """Keeps events in memory. `is_full` makes it refuse, as a spool at its bound does."""

    accepted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    is_full: bool = False

    async def accept(
        self,
        event_type: str,
        event_class: str,
        *,
        body: dict[str, Any],
        observed_ns: WallTime,
        clock: ClockQuality,
        key: str | None = None,
    ) -> bool:
        if self.is_full:
            raise Unavailable("本地缓存已满")
        if key is not None:
            if key in self.keys:
                return False
            self.keys.add(key)
        self.accepted.append((event_class, body))
        return True

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        return frozenset(keys) & self.keys

    def of(self, event_class: str) -> list[dict[str, Any]]:
        return [body for name, body in self.accepted if name == event_class]


@dataclass
class FakeHealth:
    """Keeps every statement; `causes` is what an operator would have seen pass by."""

    reports: list[tuple[Health, HealthCause, str]] = field(default_factory=list)
    described: dict[str, str] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)

    def report(self, health: Health, cause: HealthCause, detail: str = "") -> None:
        if not self.reports or self.reports[-1] != (health, cause, detail):
            self.reports.append((health, cause, detail))

    def describe(
        self, *, maker: str = "", model: str = "", firmware: str = "", serial: str = ""
    ) -> None:
        given = {"maker": maker, "model": model, "firmware": firmware, "serial": serial}
        self.described.update({name: value for name, value in given.items() if value})

    def clock_offset(self, offset_ms: int) -> None:
        self.offsets.append(offset_ms)

    @property
    def causes(self) -> list[HealthCause]:
        return [cause for _, cause, _ in self.reports]

    @property
    def now(self) -> HealthCause | None:
        return self.reports[-1][1] if self.reports else None
