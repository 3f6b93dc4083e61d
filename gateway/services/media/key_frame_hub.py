"""Newest key frames for whoever looks at pictures; a slow looker loses old ones, nothing else."""

import asyncio

from contracts.clock import Clock
from contracts.errors import ProtocolError
from contracts.media.access_unit import AccessUnit
from contracts.media.h264 import to_annex_b
from contracts.media.rtp_sender import decodable_payload
from contracts.timestamps import NS, WallTime


class KeyFrameFeed:
    """One subscriber: at most one waiting key frame per stream, the newest."""

    def __init__(self, hub: "KeyFrameHub", *, interval_ns: int) -> None:
        self.dropped = 0
        self._hub = hub
        self._interval_ns = interval_ns
        self._waiting: dict[str, AccessUnit] = {}
        self._taken_ns: dict[str, int] = {}
        self._more = asyncio.Event()

    async def next(self) -> tuple[str, WallTime, bytes]:
        """(stream, wall time of arrival, Annex B with parameter sets); waits for one."""
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            stream = next(iter(self._waiting))
            unit = self._waiting.pop(stream)
            try:
                return stream, unit.arrived_at, to_annex_b(decodable_payload(unit))
            except ProtocolError:
                self.dropped += 1

    def close(self) -> None:
        """End the subscription."""
        self._hub.forget(self)

    def offer(self, stream: str, unit: AccessUnit, *, mono_ns: int) -> None:
        """A new key frame; it replaces one that still waits."""
        if stream in self._waiting:
            self.dropped += 1
        elif mono_ns - self._taken_ns.get(stream, -self._interval_ns) < self._interval_ns:
            return
        self._taken_ns[stream] = mono_ns
        self._waiting[stream] = unit
        self._more.set()


class KeyFrameHub:
    """Hands H.264 key frames to its feeds without ever waiting for one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._feeds: set[KeyFrameFeed] = set()

    def subscribe(self, *, interval_s: float) -> KeyFrameFeed:
        """A new feed with at most one key frame per stream and interval."""
        feed = KeyFrameFeed(self, interval_ns=int(interval_s * NS))
        self._feeds.add(feed)
        return feed

    def forget(self, feed: KeyFrameFeed) -> None:
        """End a feed."""
        self._feeds.discard(feed)

    def offer(self, stream: str, unit: AccessUnit) -> None:
        """Look at a unit that arrived; only key frames of H.264 matter."""
        if unit.key and unit.config.codec == "h264" and self._feeds:
            mono_ns = self._clock.monotonic_ns()
            for feed in self._feeds:
                feed.offer(stream, unit, mono_ns=mono_ns)
