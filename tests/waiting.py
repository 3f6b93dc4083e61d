"""Wait for a condition with a deadline, instead of sleeping and hoping.

The deadline only bounds a failing test; nothing is concluded from how long it took.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

_POLL_S = 0.02

T = TypeVar("T")


async def until(condition: Callable[[], T | Awaitable[T]], seconds: float = 10.0) -> T:
    """Poll until `condition` gives something true, and give that back.

    Raises:
        TimeoutError: it was still false at the deadline; names the condition's last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        value: T = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s; last answer {value!r}")
        await asyncio.sleep(_POLL_S)


def until_sync(condition: Callable[[], T], seconds: float = 10.0) -> T:
    """The same for tests without a loop."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s; last answer {value!r}")
        time.sleep(_POLL_S)
    return value
