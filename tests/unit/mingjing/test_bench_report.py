import json

import pytest

from mingjing.bench.report import as_json, compared, plain, result, table

KEYS = {"name", "value", "unit", "peer", "peer_value", "ratio", "goal", "met"}


@pytest.mark.parametrize(("value", "met"), [(1.5, True), (1.51, False), (3.0, False)])
def test_goal_is_a_ratio_to_the_peer(value: float, met: bool) -> None:
    """The goal is reached when the ratio is not above it."""
    measure = compared("cpu", value, "%", peer="ffmpeg", peer_value=1.0, goal=1.5)
    assert (measure.ratio, measure.met) == (value, met)


def test_peer_that_used_nothing_gives_no_ratio() -> None:
    """A ratio to nothing is not stated, and its goal is not reached."""
    measure = compared("cpu", 1.0, "%", peer="ffmpeg", peer_value=0.0, goal=1.5)
    assert (measure.ratio, measure.met) == (None, False)


def test_object_has_the_agreed_form() -> None:
    """Bench, machine, date and measures, each with the eight fields."""
    measures = [plain("memory", 7.0, "MB", goal=8.0), plain("cpu", 1.0, "%")]
    found = json.loads(as_json(result("record", measures, now=1_795_482_000_000_000_000)))
    assert {"bench", "machine", "date", "measures"} <= set(found)
    assert [set(row) for row in found["measures"]] == [KEYS, KEYS]
    assert [row["met"] for row in found["measures"]] == [True, None]
    assert found["date"].startswith("2026-11-24")


def test_table_has_a_line_for_each_measure() -> None:
    """People see the same figures."""
    found = result("record", [plain("memory", 7.25, "MB", goal=8.0)], now=0)
    assert "| memory | 7.25 | MB |  |  |  | 8.0 | yes |" in table(found)
