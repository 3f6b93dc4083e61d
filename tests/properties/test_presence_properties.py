"""Presence is a function of the set of observations: order and repetition do not matter."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contracts.timestamps import NS, WallTime
from contracts.wire.presence import PresenceFact
from gateway.core.presence import Observation, PresenceRules, PresenceTrack

START = 1_790_000_000 * NS
RULES = PresenceRules()

observations = st.lists(
    st.builds(
        Observation,
        st.integers(0, 120).map(lambda s: WallTime(START + s * NS)),
        st.sampled_from([-1, 0, 0, 1, 1, 2]),
    ),
    max_size=40,
)


def track() -> PresenceTrack:
    return PresenceTrack(
        place="counter-07",
        device="cam-07-front",
        model="test 1",
        since=WallTime(START),
        rules=RULES,
    )


def latest(facts: list[PresenceFact]) -> dict[str, PresenceFact]:
    """What a reader of the facts believes: the highest revision, empty intervals aside."""
    highest: dict[str, PresenceFact] = {}
    for fact in facts:
        known = highest.get(fact.id)
        if known is None or fact.revision > known.revision:
            highest[fact.id] = fact
    return {i: f for i, f in highest.items() if f.to_ns != f.from_ns}


def comparable(facts: dict[str, PresenceFact]) -> dict[str, PresenceFact]:
    return {i: f.model_copy(update={"revision": 0}) for i, f in facts.items()}


@given(observations, st.randoms(use_true_random=False), st.data())
def test_order_and_repetition_do_not_matter(seen, random, data):
    """However observations arrive, and however often they are restated, the belief is one."""
    end = WallTime(START + 130 * NS)
    plain = track()
    for observation in seen:
        plain.observe(observation)
    wanted = comparable(latest(plain.restate(end)))

    shuffled = seen * 2
    random.shuffle(shuffled)
    other, facts = track(), []
    for observation in shuffled:
        other.observe(observation)
        if data.draw(st.booleans()):
            now = data.draw(st.integers(0, 130))
            facts += other.restate(WallTime(START + now * NS))
    facts += other.restate(end)
    assert comparable(latest(facts)) == wanted


@given(observations)
def test_intervals_touch_and_never_overlap(seen):
    """From the beginning to now every instant has exactly one state."""
    one = track()
    for observation in seen:
        one.observe(observation)
    intervals = one.intervals(WallTime(START + 130 * NS))
    assert intervals[0].start == START
    assert intervals[-1].end is None
    for earlier, later in pairwise(intervals):
        assert earlier.end == later.start
        assert earlier.start < later.start
    assert {i.state for i in intervals} <= {"present", "absent", "unknown"}


@given(observations)
def test_revisions_grow_and_nothing_is_said_twice(seen):
    """A restatement says something new, under the next revision."""
    one, facts, now = track(), [], WallTime(START)
    for observation in seen:
        one.observe(observation)
        now = max(now, observation.at)
        facts += one.restate(now)
    facts += one.restate(now)
    assert one.restate(now) == []
    by_id: dict[str, list[PresenceFact]] = {}
    for fact in facts:
        by_id.setdefault(fact.id, []).append(fact)
    for told in by_id.values():
        assert [f.revision for f in told] == list(range(1, len(told) + 1))
        contents = [f.model_dump(exclude={"revision"}) for f in told]
        assert all(a != b for a, b in pairwise(contents))


@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=900))
def test_forgetting_changes_nothing(people):
    """A track that ran for half an hour says the same as one that is read at once."""
    running, facts = track(), []
    rules = PresenceRules(keep_ns=10**18)
    whole = PresenceTrack(
        place="counter-07",
        device="cam-07-front",
        model="test 1",
        since=WallTime(START),
        rules=rules,
    )
    at = WallTime(START)
    for index, count in enumerate(people):
        at = WallTime(START + index * 2 * NS)
        running.observe(Observation(at, count))
        facts += running.restate(at)
        whole.observe(Observation(at, count))
    assert comparable(latest(facts)) == comparable(latest(whole.restate(at)))


@given(observations)
def test_absence_needs_empty_pictures(seen):
    """Only pictures without people, seen long enough, make an absence."""
    one = track()
    for observation in seen:
        one.observe(observation)
    for interval in one.intervals(WallTime(START + 130 * NS)):
        if interval.state != "absent":
            continue
        end = interval.end or START + 130 * NS
        # The picture that decided it may be the last one before silence: it lies on the end.
        inside = [o for o in seen if interval.start <= o.at <= end]
        assert any(o.people == 0 and o.at == interval.start for o in inside)
        assert max(o.at for o in inside if o.people == 0) - interval.start >= (
            RULES.absent_after_ns
        )
