"""Carries facts from the outbox to the broker, in order, each until it is confirmed."""

import structlog

from contracts.backoff import Backoff
from contracts.clock import Clock
from contracts.errors import Unavailable
from gateway.ports import Broker, Outbox

_BATCH = 64
_BACKOFF = Backoff(first_s=0.2, most_s=5.0, jitter=0.0)

_log = structlog.get_logger()


class Forwarder:
    """One runner per gateway: two would break the order."""

    def __init__(self, *, broker: Broker, outbox: Outbox, clock: Clock) -> None:
        """Nothing is read before `run`."""
        self._broker = broker
        self._outbox = outbox
        self._clock = clock

    async def run(self) -> None:
        """Forward for ever. A crash between confirmation and removal repeats one id, harmlessly."""
        failures = 0
        while True:
            await self._outbox.wait_filled()
            try:
                for position, fact in await self._outbox.pending(_BATCH):
                    await self._broker.publish_fact(fact)
                    await self._outbox.remove(position)
            except Unavailable as exc:
                if failures == 0:
                    _log.warning("facts_wait", reason=str(exc))
                await self._clock.sleep(_BACKOFF.delay(failures, random=0.0))
                failures += 1
            else:
                if failures:
                    _log.info("facts_flow_again")
                failures = 0
