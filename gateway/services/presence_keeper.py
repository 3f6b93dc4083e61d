"""Keeps who is at which post, from what the detector saw and how its cameras fare."""

from collections.abc import Callable
from typing import Protocol

import structlog

from contracts.clock import Clock
from contracts.errors import Unavailable
from contracts.ids import split_stream_id, stream_id
from contracts.timestamps import NS, WallTime
from contracts.wire.orders import SiteOrder
from gateway.core.detector_lines import Detection
from gateway.core.liveness import Condition
from gateway.core.presence import Observation, PresenceRules, PresenceTrack, observe_unwell
from gateway.ports import PresenceStore, Register

_TICK_S = 1.0
_SEEN_EVERY_NS = 10 * NS
_BEGIN = "刚开始 (just begun)"
_RESTART = "网关重启 (the gateway restarted)"

_log = structlog.get_logger()


class PresenceKeeperStore(PresenceStore, Register, Protocol):
    """What presence is made from and kept in."""


class PresenceKeeper:
    """One track per camera that watches a post."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: PresenceKeeperStore,
        model: str,
        watch: Callable[[list[str]], None],
        rules: PresenceRules | None = None,
    ) -> None:
        """`watch` is told which streams the detector shall look at, whenever that changes."""
        self._clock = clock
        self._store = store
        self._model = model
        self._watch = watch
        self._rules = rules or PresenceRules()
        self._tracks: dict[str, PresenceTrack] = {}
        self._places: dict[str, str] = {}
        self._watched: list[str] = []
        self._seen: dict[str, WallTime] = {}
        self._since: dict[str, WallTime] = {}
        self._blind = ""

    async def run(self) -> None:
        """Close what an earlier run left open, then restate once a second, for ever."""
        begun = False
        while True:
            try:
                if not begun:
                    await self.close_left_open()
                    begun = True
                await self.restate()
            except Unavailable as exc:
                _log.warning("presence_not_stated", reason=str(exc))
            await self._clock.sleep(_TICK_S)

    def saw(self, detection: Detection) -> None:
        """Take what the detector saw in one picture."""
        device, _ = split_stream_id(detection.stream)
        self.observe(device, Observation(detection.at, detection.people))

    def observe(self, device: str, observation: Observation) -> None:
        """Take one observation of a camera; of cameras that watch no post it is left out."""
        track = self._tracks.get(device)
        if track is not None:
            track.observe(observation)

    def device_condition(self, device: str, condition: Condition, at: WallTime) -> None:
        """A camera fell ill: what it shows from now on proves nothing."""
        if condition.health == "offline" and device in self._tracks:
            self.observe(device, observe_unwell(at, condition.detail or condition.cause))

    def blind(self, why: str) -> None:
        """The detector sees nothing, and why; empty when it sees again."""
        self._blind = why
        if why:
            for device in self._tracks:
                self.observe(device, observe_unwell(self._clock.now(), why))

    async def close_left_open(self) -> None:
        """End intervals of an earlier run where they were last known to hold.

        Raises:
            Unavailable: the disk does not take it.
        """
        for fact, seen in await self._store.open_intervals():
            end = WallTime(max(fact.from_ns, seen))
            update = {"to_ns": end, "revision": fact.revision + 1}
            await self._store.state_presence([fact.model_copy(update=update)], seen=end)
            self._since[fact.device] = end

    async def restate(self) -> None:
        """Read the register, and state every interval that changed.

        Raises:
            Unavailable: the disk does not take it.
        """
        self._read_register(await self._store.site())
        now = self._clock.now()
        for device, track in self._tracks.items():
            seen = track.last_picture or now
            facts = track.restate(now)
            if facts:
                await self._store.state_presence(facts, seen=seen)
                self._seen[device] = seen
            elif seen - self._seen.get(device, WallTime(0)) >= _SEEN_EVERY_NS:
                await self._store.presence_seen(device, seen)
                self._seen[device] = seen

    def _read_register(self, site: SiteOrder | None) -> None:
        watching = [d for d in site.devices if d.detects_presence and d.place] if site else []
        places = {d.id: d.place for d in watching if d.place}
        if places != self._places:
            self._tracks = {
                device: self._tracks[device]
                if self._places.get(device) == place
                else self._begin(device, place)
                for device, place in places.items()
            }
            self._places = places
        # The smallest feed is enough to see who is there, and the cheapest to decode.
        watched = sorted(str(stream_id(d.id, d.streams[-1])) for d in watching if d.streams)
        if watched != self._watched:
            self._watched = watched
            self._watch(watched)

    def _begin(self, device: str, place: str) -> PresenceTrack:
        restarted = device in self._since
        return PresenceTrack(
            place=place,
            device=device,
            model=self._model,
            since=self._since.pop(device, self._clock.now()),
            why=self._blind or (_RESTART if restarted else _BEGIN),
            rules=self._rules,
        )
