"""Stores punches as fast as it can and says after each commit how far it is. Meant to be killed."""

import asyncio
import secrets
import sys
from pathlib import Path

from contracts.ids import uuid7
from contracts.signing import PemSigner
from gateway.adapters.state_store import StateStore
from gateway.core.event_chain import AcceptedEvent
from gateway.core.punches import Whereabouts, punch_fact
from tests.certificates import issue
from tests.unit.gateway.test_event_intake import Device, punched


async def store_for_ever(path: Path) -> None:
    store = StateStore(path)
    head = await store.head("zk-07")
    device = Device(PemSigner(issue("zk-07").key_pem), seq=head.seq, prev=head.digest)
    while True:
        events = []
        for _ in range(1 + secrets.randbelow(5)):
            number = device.seq % 3600
            punch = punched(number).model_copy(
                update={"key": uuid7(now=device.seq, random=secrets.token_bytes(10))}
            )
            envelope = device.event(punch)
            events.append(
                AcceptedEvent(
                    envelope=envelope,
                    raw=envelope.encode(),
                    digest=envelope.digest(),
                    punched=punch,
                    punch=punch_fact(envelope, punch, Whereabouts.of(None), known_offset_ms=0),
                )
            )
        await store.accept(events)
        sys.stdout.write(f"{device.seq}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(store_for_ever(Path(sys.argv[1])))
