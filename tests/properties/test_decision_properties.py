"""Coverage is honest for any spans, and any bytes of a child process are survived."""

import contextlib
import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ProtocolError
from contracts.timestamps import WallTime
from gateway.core.detector_lines import (
    Detection,
    DetectorHealth,
    detection_line,
    health_line,
    parse_from_detector,
    parse_watch,
    watch_line,
)
from gateway.core.facts import derived_id
from gateway.core.linking import ROUNDING_NS, holes, permille, union

MS = 1_000_000
instants = st.integers(0, 100_000).map(lambda ms: ms * MS)
spans = st.lists(
    st.tuples(instants, instants).filter(lambda s: s[0] < s[1]),
    max_size=20,
)
within = st.tuples(instants, instants).filter(lambda s: s[0] < s[1])


@given(spans, within)
def test_holes_and_spans_make_the_whole(found, interval):
    """What is covered and what is missing add up, rounding errors aside."""
    missing = sum(b - a for a, b in holes(found, interval))
    whole = interval[1] - interval[0]
    share = permille(found, interval)
    assert 0 <= share <= 1000
    slack = ROUNDING_NS * (len(found) + 2)
    assert abs((whole - missing) * 1000 - share * whole) <= 1000 * slack + whole
    if holes(found, interval):
        assert share < 1000


@given(spans, within)
def test_filling_the_holes_makes_it_whole(found, interval):
    """All but a rounding error at either end."""
    filled = [*found, *holes(found, interval)]
    whole = interval[1] - interval[0]
    assert holes(filled, interval) == []
    assert permille(filled, interval) >= (whole - 2 * ROUNDING_NS) * 1000 // whole


@given(spans)
def test_union_is_sorted_and_disjoint(found):
    """And joining again changes nothing."""
    joined = union(found)
    assert union(joined) == joined
    assert all(a[1] + ROUNDING_NS < b[0] for a, b in pairwise(joined))


@given(st.binary(max_size=200))
def test_any_line_is_read_or_refused(line):
    """A child that writes garbage ends nobody."""
    with contextlib.suppress(ProtocolError):
        parse_from_detector(line)
    with contextlib.suppress(ProtocolError):
        parse_watch(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.sampled_from(["detection", "health", "watch", "other"]),
    st.dictionaries(
        st.sampled_from(["stream", "at", "people", "took_ms", "health", "model", "streams"]),
        json_values,
    ),
)
def test_any_object_is_read_or_refused(kind, fields):
    """Fields of the wrong kind, too."""
    line = json.dumps({"kind": kind, **fields}).encode()
    with contextlib.suppress(ProtocolError):
        parse_from_detector(line)


@given(st.integers(0, 2**62), st.integers(0, 99), st.integers(0, 9999))
def test_lines_come_back_as_they_went(at, people, took_ms):
    """Round trips."""
    detection = Detection(
        stream="cam-07-front.main", at=WallTime(at), people=people, took_ms=took_ms
    )
    assert parse_from_detector(detection_line(detection)) == detection
    health = DetectorHealth(health="degraded", model="m", detail="模型没有下载")
    assert parse_from_detector(health_line(health)) == health
    assert parse_watch(watch_line(["a.b", "c.d"])) == {"a.b", "c.d"}


@given(st.lists(st.text(max_size=20), max_size=4))
def test_derived_ids_are_uuids_of_version_8(parts):
    """The same parts, the same id (RFC 9562, section 5.8)."""
    made = derived_id(*parts)
    assert made == derived_id(*parts)
    assert (len(made), made[14]) == (36, "8")
    assert made[19] in "89ab"
