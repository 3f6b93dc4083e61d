"""From what a detector saw in single pictures to intervals at a post.

Theory of operation. The result is a pure function of the *set* of observations of one camera: they
are kept sorted for a while, and every new one leads to a fresh reading of the whole. So neither the
order of arrival nor a repetition matters. Only what the reading changed is stated.

* Present: people in two pictures in a row, from the first of them; lasts until nobody was seen for
  a while (a turned head is not an absence), and then ends at the first empty picture.
* Absent: nobody for that while, from the first empty picture.
* Unknown: no pictures, or the source said it is unwell. Never read as absent.

An interval is known by camera, state and beginning, so its id follows from what it is. When a late
observation moves a beginning, the old interval is withdrawn: stated again with no length.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

from contracts.timestamps import NS, WallTime
from contracts.wire.presence import PresenceFact, PresenceState
from gateway.core.facts import derived_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceRules:
    """How much evidence makes a state. Times in nanoseconds."""

    pictures_to_be_present: int = 2
    absent_after_ns: int = 20 * NS
    silent_after_ns: int = 12 * NS
    keep_ns: int = 600 * NS
    """How late an observation may come and still count."""


@dataclass(frozen=True, slots=True, order=True)
class Observation:
    """One picture looked at (`people` >= 0), or word that the source is unwell (-1)."""

    at: WallTime
    people: int
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceInterval:
    """A state from one instant on; `end` is None while it lasts."""

    state: PresenceState
    start: WallTime
    end: WallTime | None = None
    most_people: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """Where a reading of sorted observations stands. A value, so that one can go on from it."""

    current: PresenceInterval
    last_picture: WallTime | None = None
    positives: int = 0
    positive_since: WallTime | None = None
    most_since: int = 0
    negative_since: WallTime | None = None


def observe_unwell(at: WallTime, cause: str) -> Observation:
    """Word that the source is unwell from now on."""
    return Observation(at, -1, cause)


class PresenceTrack:
    """The presence intervals of one camera at its post."""

    def __init__(
        self,
        *,
        place: str,
        device: str,
        model: str,
        since: WallTime,
        why: str = "",
        rules: PresenceRules,
    ) -> None:
        """Begin at `since` with nothing known; `why` is the cause of that, for people."""
        self._place = place
        self._device = device
        self._model = model
        self._rules = rules
        self._base = _Reading(current=PresenceInterval(state="unknown", start=since, cause=why))
        self._horizon = since
        self._observations: list[Observation] = []
        self._stated: dict[str, PresenceFact] = {}

    @property
    def last_picture(self) -> WallTime | None:
        """When the newest picture that was looked at was taken."""
        pictures = [o.at for o in self._observations if o.people >= 0]
        return pictures[-1] if pictures else self._base.last_picture

    def observe(self, observation: Observation) -> bool:
        """Take one observation, in any order. False: known already, or too late to count."""
        if observation.at < self._horizon or observation in self._observations:
            return False
        insort(self._observations, observation)
        return True

    def intervals(self, now: WallTime) -> list[PresenceInterval]:
        """The reading of everything kept: touching intervals in order, the last one open."""
        closed, reading = _read(self._base, self._observations, self._rules)
        last = reading.last_picture
        silent = last is not None and now - last > self._rules.silent_after_ns
        if last is not None and silent and reading.current.state != "unknown":
            closed, reading = _switch(closed, reading, _silence(last))
        return [*closed, reading.current]

    def restate(self, now: WallTime) -> list[PresenceFact]:
        """Facts for what changed since the last call, oldest first; then forget what is old."""
        facts = []
        current = {self._id(i): i for i in self.intervals(now)}
        for known, fact in list(self._stated.items()):
            if known not in current and fact.to_ns != fact.from_ns:
                withdrawn = replace(_as_interval(fact), end=WallTime(fact.from_ns))
                # Kept, so that the interval goes on under the next revision if it comes back.
                self._stated[known] = self._state(known, withdrawn)
                facts.append(self._stated[known])
        for known, interval in current.items():
            stated = self._stated.get(known)
            if stated is None or _as_interval(stated) != interval:
                self._stated[known] = self._state(known, interval)
                facts.append(self._stated[known])
        self._forget(WallTime(now - self._rules.keep_ns))
        return sorted(facts, key=lambda f: f.from_ns)

    def _id(self, interval: PresenceInterval) -> str:
        return derived_id("presence", self._device, self._place, interval.state, interval.start)

    def _state(self, known: str, interval: PresenceInterval) -> PresenceFact:
        before = self._stated.get(known)
        return PresenceFact(
            id=known,
            revision=before.revision + 1 if before else 1,
            place=self._place,
            device=self._device,
            state=interval.state,
            from_ns=interval.start,
            to_ns=interval.end,
            most_people=interval.most_people,
            cause=interval.cause,
            model=self._model,
        )

    def _forget(self, horizon: WallTime) -> None:
        """Fold observations older than the horizon into the reading that newer ones go on from."""
        old = [o for o in self._observations if o.at < horizon]
        if not old:
            return
        _, self._base = _read(self._base, old, self._rules)
        self._observations = self._observations[len(old) :]
        self._horizon = horizon
        # What begins before the horizon can still be closed, but no longer be withdrawn.
        begun = self._base.current.start
        self._stated = {k: f for k, f in self._stated.items() if f.from_ns >= begun}


def _read(
    base: _Reading, observations: Sequence[Observation], rules: PresenceRules
) -> tuple[list[PresenceInterval], _Reading]:
    closed: list[PresenceInterval] = []
    reading = base
    for observation in observations:
        closed, reading = _after(closed, reading, observation, rules)
    return closed, reading


def _after(
    closed: list[PresenceInterval],
    reading: _Reading,
    observation: Observation,
    rules: PresenceRules,
) -> tuple[list[PresenceInterval], _Reading]:
    at, people = observation.at, observation.people
    if people < 0:
        unknown = PresenceInterval(state="unknown", start=at, cause=observation.cause)
        if (reading.current.state, reading.current.cause) != ("unknown", observation.cause):
            closed, reading = _switch(closed, reading, unknown)
        return closed, replace(_without_evidence(reading), last_picture=None)
    last = reading.last_picture
    if last is not None and at - last > rules.silent_after_ns:
        if reading.current.state == "unknown":
            reading = _without_evidence(reading)
        else:
            closed, reading = _switch(closed, reading, _silence(last))
    reading = replace(reading, last_picture=at)
    if people > 0:
        return _somebody(closed, reading, at, people, rules)
    return _nobody(closed, reading, at, rules)


def _somebody(
    closed: list[PresenceInterval],
    reading: _Reading,
    at: WallTime,
    people: int,
    rules: PresenceRules,
) -> tuple[list[PresenceInterval], _Reading]:
    reading = replace(
        reading,
        positives=reading.positives + 1,
        positive_since=at if reading.positive_since is None else reading.positive_since,
        most_since=max(reading.most_since, people),
        negative_since=None,
    )
    if reading.current.state == "present":
        most = max(reading.current.most_people, people)
        return closed, replace(reading, current=replace(reading.current, most_people=most))
    if reading.positives < rules.pictures_to_be_present:
        return closed, reading
    present = PresenceInterval(
        state="present", start=reading.positive_since or at, most_people=reading.most_since
    )
    return _switch(closed, reading, present)


def _nobody(
    closed: list[PresenceInterval], reading: _Reading, at: WallTime, rules: PresenceRules
) -> tuple[list[PresenceInterval], _Reading]:
    since = at if reading.negative_since is None else reading.negative_since
    reading = replace(reading, positives=0, positive_since=None, most_since=0, negative_since=since)
    if reading.current.state == "absent" or at - since < rules.absent_after_ns:
        return closed, reading
    return _switch(closed, reading, PresenceInterval(state="absent", start=since))


def _switch(
    closed: list[PresenceInterval], reading: _Reading, opened: PresenceInterval
) -> tuple[list[PresenceInterval], _Reading]:
    ended = replace(reading.current, end=opened.start)
    # An interval of no length says nothing.
    kept = [*closed, ended] if ended.end != ended.start else closed
    after = replace(_without_evidence(reading), current=opened)
    return kept, after


def _without_evidence(reading: _Reading) -> _Reading:
    return replace(reading, positives=0, positive_since=None, most_since=0, negative_since=None)


def _silence(since: WallTime) -> PresenceInterval:
    return PresenceInterval(state="unknown", start=since, cause="没有画面 (no pictures)")


def _as_interval(fact: PresenceFact) -> PresenceInterval:
    return PresenceInterval(
        state=fact.state,
        start=WallTime(fact.from_ns),
        end=None if fact.to_ns is None else WallTime(fact.to_ns),
        most_people=fact.most_people,
        cause=fact.cause,
    )
