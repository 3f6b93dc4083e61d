"""A media sink that remembers everything; see `edge_agent.ports`."""

import hashlib
from dataclasses import dataclass, field

from contracts.media.access_unit import AccessUnit
from contracts.wire.devices import HealthCause


@dataclass
class FakeMediaSink:
    """Keeps what was put, and the sessions."""

    units: list[AccessUnit] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    downs: list[tuple[HealthCause, str]] = field(default_factory=list)

    def put(self, unit: AccessUnit) -> None:
        assert len(self.sessions) > 0, "a unit came before source_up"
        self.units.append(unit)

    def source_up(self, session: str) -> None:
        assert session not in self.sessions
        self.sessions.append(session)

    def source_down(self, cause: HealthCause, detail: str) -> None:
        self.downs.append((cause, detail))

    def video(self) -> list[AccessUnit]:
        return [unit for unit in self.units if unit.config.track == "video"]

    def audio(self) -> list[AccessUnit]:
        return [unit for unit in self.units if unit.config.track == "audio"]

    def digests(self) -> list[str]:
        return [hashlib.sha256(unit.payload).hexdigest() for unit in self.video()]
