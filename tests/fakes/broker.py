"""A broker in memory: the port of the gateway, and handles for the test."""

import asyncio
from collections.abc import Sequence

from contracts.errors import Unavailable
from contracts.timestamps import WallTime
from contracts.wire import topics
from contracts.wire.envelope import Ack
from gateway.core.facts import Fact
from gateway.ports import BatchHandler, Inbox, Message


class FakeBroker:
    """Handles for the test: `put`, `away`, `facts`, `acks`."""

    def __init__(self, site: str = "demo") -> None:
        self.site = site
        self.facts: list[Fact] = []
        self.acks: list[tuple[str, Ack]] = []
        self._away = False
        self._inboxes: dict[Inbox, list[Message]] = {"up": [], "state": [], "orders": []}
        self._done: dict[Inbox, int] = {"up": 0, "orders": 0}
        self._changed = asyncio.Condition()
        self._count = 0

    @property
    def connected(self) -> bool:
        return not self._away

    async def away(self, away: bool) -> None:
        async with self._changed:
            self._away = away
            self._changed.notify_all()

    async def put(self, topic: str, payload: bytes, *, at: int | None = None) -> None:
        subject = topics.subject(topic)
        inbox: Inbox = "up" if ".up." in subject else "orders" if ".order." in subject else "state"
        self._count += 1
        message = Message(subject=subject, payload=payload, stored_at=WallTime(at or self._count))
        async with self._changed:
            box = self._inboxes[inbox]
            if inbox == "state":
                box[:] = [m for m in box if m.subject != subject]
            box.append(message)
            self._changed.notify_all()

    async def consume(self, inbox: Inbox, handle: BatchHandler) -> None:
        seen: list[Message] = []
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._ready(inbox, seen))
                batch = self._next(inbox, seen)
            try:
                await handle(batch)
            except Unavailable:
                await asyncio.sleep(0)
                continue
            if inbox == "state":
                seen.extend(batch)
            else:
                self._done[inbox] += len(batch)

    async def description(self, device: str) -> bytes | None:
        self._check()
        subject = topics.subject(topics.desc(self.site, device))
        found = [m.payload for m in self._inboxes["state"] if m.subject == subject]
        return found[-1] if found else None

    async def acknowledge(self, device: str, ack: Ack) -> None:
        if not self._away:
            self.acks.append((device, ack))

    async def publish_fact(self, fact: Fact) -> None:
        self._check()
        if fact.id not in {f.id for f in self.facts}:
            self.facts.append(fact)

    def _check(self) -> None:
        if self._away:
            raise Unavailable("the broker is away")

    def _ready(self, inbox: Inbox, seen: list[Message]) -> bool:
        return not self._away and bool(self._next(inbox, seen))

    def _next(self, inbox: Inbox, seen: list[Message]) -> Sequence[Message]:
        if inbox == "state":
            return [m for m in self._inboxes[inbox] if m not in seen]
        return self._inboxes[inbox][self._done[inbox] :]
