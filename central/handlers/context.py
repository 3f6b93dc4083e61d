"""What every use case is given: the parts of central behind their ports."""

import secrets
from dataclasses import dataclass

from central.domain.clocks import WorkCalendar
from central.ports import Gateways, Packs, Passwords, Store
from contracts.clock import Clock
from contracts.ids import uuid7

_RANDOM_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts, as the composition root put them together."""

    store: Store
    packs: Packs
    calendar: WorkCalendar
    clock: Clock
    passwords: Passwords
    gateways: Gateways

    def new_id(self) -> str:
        """A fresh UUIDv7."""
        return uuid7(now=self.clock.now(), random=secrets.token_bytes(_RANDOM_BYTES))
