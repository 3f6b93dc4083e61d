"""Knows how every device fares, and says so when it changes.

Health follows from what a device published, from its silence and from what we had to refuse. Each
change becomes a fact for central, a cause for the recorder's gaps, and word to who listens.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog
from pydantic import ValidationError

from contracts.clock import Clock
from contracts.errors import InvalidInput, Unavailable
from contracts.ids import stream_id
from contracts.timestamps import WallTime
from contracts.wire.devices import DeviceDesc, DeviceState
from contracts.wire.orders import SiteOrder
from contracts.wire.presence import DeviceHealthFact
from contracts.wire.topics import parse_device_topic
from gateway.core.facts import derived_id
from gateway.core.liveness import Condition, Sighting, condition_of, gap_cause
from gateway.ports import Broker, CauseSink, ConditionListener, DeviceStore, Message, Register

_TICK_S = 1.0
_CLOCK_NEWS_MS = 500
"""A clock offset that moved by more than this is worth a fact of its own."""

_OWN_WORD = ("model", "firmware", "serial")
_IDENTITY = ("maker", *_OWN_WORD)

_log = structlog.get_logger()


class RegistryStore(DeviceStore, Register, Protocol):
    """What the registry needs stored."""


class DeviceRegistry:
    """Handles the `state` inbox and watches for silence."""

    def __init__(
        self,
        *,
        clock: Clock,
        broker: Broker,
        store: RegistryStore,
        causes: CauseSink,
        listen: ConditionListener,
    ) -> None:
        """Know nothing yet; `run` begins with what was stated last."""
        self._clock = clock
        self._broker = broker
        self._store = store
        self._causes = causes
        self._listen = listen
        self._sightings: dict[str, Sighting] = {}
        self._streams: dict[str, tuple[str, ...]] = {}
        self._identities: dict[str, dict[str, str]] = {}
        self._stated: dict[str, DeviceHealthFact] | None = None
        self._conditions: dict[str, Condition] = {}
        self._caused: dict[str, Condition] = {}
        self._heard_since = clock.now()

    async def run(self) -> None:
        """Judge every device once a second, for ever."""
        while True:
            try:
                await self.judge()
            except Unavailable as exc:
                _log.warning("health_not_stated", reason=str(exc))
            await self._clock.sleep(_TICK_S)

    async def handle(self, batch: Sequence[Message]) -> None:
        """Take states and descriptions; what cannot be read is logged and left out."""
        for message in batch:
            try:
                topic = parse_device_topic(message.subject)
                if topic.leaf == "desc":
                    await self._described(topic.device, message)
                elif topic.leaf == "state":
                    state = DeviceState.model_validate_json(message.payload)
                    self._see(topic.device, message.stored_at, state)
            except (InvalidInput, ValidationError) as exc:
                _log.warning("state_invalid", subject=message.subject, reason=str(exc)[:200])
        await self.judge()

    def heard(self, device: str) -> None:
        """Something authentic came from the device; what was refused before is mended."""
        self._see(device, self._clock.now(), refused="")

    def refused(self, device: str, reason: str) -> None:
        """Something that bears the device's name could not be taken."""
        self._see(device, self._clock.now(), refused=reason)

    def conditions(self) -> dict[str, Condition]:
        """The present condition of every known device."""
        return dict(self._conditions)

    def forget_causes(self) -> None:
        """The recorder started anew and knows no cause; tell it all of them again."""
        self._caused.clear()

    async def judge(self) -> None:
        """Judge every device now and state what changed.

        Raises:
            Unavailable: the fact could not be stored; the next call states it.
        """
        if self._stated is None:
            self._stated = await self._store.stated_health()
        now = self._clock.now()
        if not self._broker.connected:
            self._heard_since = now
        site = await self._store.site()
        for entry in site.devices if site else ():
            if entry.device_class != "agent":
                self._sightings.setdefault(entry.id, Sighting(seen=self._heard_since))
        for device, sighting in list(self._sightings.items()):
            condition = condition_of(sighting, now=now, heard_since=self._heard_since)
            if self._conditions.get(device) != condition:
                self._conditions[device] = condition
                self._listen(device, condition, now)
            last = self._stated.get(device)
            if condition.cause == "starting" and sighting.state is None and last is not None:
                continue  # we started anew; its state has not been read yet
            identity = _settled(self._identities.get(device), last)
            if last is None or identity != _identity(last) or _is_news(last, condition, sighting):
                self._stated[device] = await self._state(device, condition, now, identity)
            await self._name_cause(device, condition, site)

    def _see(
        self,
        device: str,
        at: WallTime,
        state: DeviceState | None = None,
        *,
        refused: str | None = None,
    ) -> None:
        known = self._sightings.get(device)
        self._sightings[device] = Sighting(
            state=state or (known.state if known else None),
            seen=max(at, known.seen) if known else at,
            refused=refused if refused is not None else (known.refused if known else ""),
        )

    async def _described(self, device: str, message: Message) -> None:
        desc = DeviceDesc.model_validate_json(message.payload)
        if desc.device != device:
            raise InvalidInput(f"names {desc.device}, not {device}", field="desc.device")
        await self._store.put_description(desc)
        self._streams[device] = desc.streams
        self._identities[device] = _identity(desc)
        self._see(device, message.stored_at)

    async def _state(
        self, device: str, condition: Condition, now: WallTime, identity: dict[str, str]
    ) -> DeviceHealthFact:
        sighting = self._sightings[device]
        fact = DeviceHealthFact(
            id=derived_id(
                "health", device, now, condition.health, condition.cause, *identity.values()
            ),
            device=device,
            health=condition.health,
            cause=condition.cause,
            detail=condition.detail,
            at_ns=now,
            spool_pending=_spool_pending(sighting),
            clock_offset_ms=_clock_offset(sighting),
            **identity,
        )
        await self._store.state_health(fact)
        _log.info("device_health", device=device, health=fact.health, cause=fact.cause)
        return fact

    async def _name_cause(self, device: str, condition: Condition, site: SiteOrder | None) -> None:
        if self._caused.get(device) == condition:
            return
        names = {*self._streams.get(device, ())}
        for entry in site.devices if site else ():
            if entry.id == device:
                names.update(entry.streams)
        try:
            for name in sorted(names):
                await self._causes.set_cause(
                    stream_id(device, name), gap_cause(condition), condition.detail
                )
        except Unavailable:
            return  # the media process restarts; told again at the next tick
        self._caused[device] = condition


def _identity(said: DeviceDesc | DeviceHealthFact | None) -> dict[str, str]:
    """What a device says it is, as far as it is said on."""
    if said is None:
        return dict.fromkeys(_IDENTITY, "")
    return {name: getattr(said, name) for name in _IDENTITY}


def _settled(said: dict[str, str] | None, last: DeviceHealthFact | None) -> dict[str, str]:
    """What to state: what the device says, or what we stated last while it says nothing.

    We read descriptions anew after a restart, and an agent that starts describes its devices
    before it has reached them.
    """
    before = _identity(last)
    if said is None or not any(said[name] for name in _OWN_WORD):
        return before if any(before.values()) else said or before
    return said


def _spool_pending(sighting: Sighting) -> int:
    return sighting.state.spool_pending if sighting.state else 0


def _clock_offset(sighting: Sighting) -> int | None:
    return sighting.state.clock_offset_ms if sighting.state else None


def _is_news(last: DeviceHealthFact, condition: Condition, sighting: Sighting) -> bool:
    if (last.health, last.cause, last.detail) != (
        condition.health,
        condition.cause,
        condition.detail,
    ):
        return True
    return _has_moved(last.spool_pending, _spool_pending(sighting)) or _has_drifted(
        last.clock_offset_ms, _clock_offset(sighting)
    )


def _has_moved(before: int, now: int) -> bool:
    """A backlog that begins, ends, doubles or halves; what comes and goes between is not told."""
    return before != now and (0 in {before, now} or max(before, now) >= 2 * min(before, now))


def _has_drifted(before_ms: int | None, now_ms: int | None) -> bool:
    if now_ms is None:
        return False
    return before_ms is None or abs(now_ms - before_ms) > _CLOCK_NEWS_MS
