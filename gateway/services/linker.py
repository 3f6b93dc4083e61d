"""Binds footage to steps: at once when a step is told, and again whenever the truth changes."""

import asyncio
from typing import Protocol

import structlog

from contracts.clock import Clock
from contracts.errors import Unavailable
from contracts.timestamps import WallTime
from contracts.wire.footage import FootageLinkFact, Timeline
from contracts.wire.orders import SiteOrder
from gateway.core.linking import (
    RECONSIDER_NS,
    LinkedStep,
    bind,
    covering_streams,
    is_news,
    wanted,
)
from gateway.ports import FootageReader, Register, StepStore

_TICK_S = 1.0

_log = structlog.get_logger()


class LinkStore(Register, StepStore, Protocol):
    """What links are made from and kept in."""


class Linker:
    """Judges every step that is not settled."""

    def __init__(self, *, clock: Clock, store: LinkStore, footage: FootageReader) -> None:
        """`footage` is read in a thread; it may wait for a disk."""
        self._clock = clock
        self._store = store
        self._footage = footage
        self._wake = asyncio.Event()
        self._failing = False

    def wake(self) -> None:
        """Something changed: judge now and not at the next second."""
        self._wake.set()

    async def run(self) -> None:
        """Judge once a second and whenever woken, for ever."""
        while True:
            self._wake.clear()
            try:
                await self.judge()
            except Unavailable as exc:
                if not self._failing:
                    _log.warning("links_wait", reason=str(exc))
                self._failing = True
            else:
                self._failing = False
            try:
                async with asyncio.timeout(_TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def judge(self) -> list[FootageLinkFact]:
        """Judge now; returns what was stated.

        Raises:
            Unavailable: footage index or disk away.
        """
        now = self._clock.now()
        site = await self._store.site()
        stated = []
        for step in await self._store.steps(ended_after=now - RECONSIDER_NS):
            link = await asyncio.to_thread(self._bind, step, site, now)
            if is_news(step.link, link, step.order):
                await self._store.state_link(link)
                stated.append(link)
                _log.info(
                    "footage_linked",
                    step=link.step,
                    revision=link.revision,
                    final=link.final,
                    covered_permille=link.covered_permille,
                )
        return stated

    def _bind(self, step: LinkedStep, site: SiteOrder | None, now: WallTime) -> FootageLinkFact:
        streams = covering_streams(site, step.order.place)
        start, end = wanted(step.order, now=now)
        timelines: dict[str, Timeline] = {
            s.stream: self._footage.timeline(s.stream, WallTime(start), WallTime(end))
            for s in streams
        }
        return bind(step, streams, timelines, now=now)
