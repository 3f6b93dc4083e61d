"""For every test: Hypothesis profiles, and a clock that moves only when told to."""

import os

import pytest
from hypothesis import HealthCheck, settings

from contracts.clock import ManualClock

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
