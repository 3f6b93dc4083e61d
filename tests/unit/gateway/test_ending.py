"""The gateway ends when it is told to, whatever its libraries do with a cancellation."""

import asyncio

from gateway.app import end


async def test_a_part_that_loses_a_cancellation_is_cancelled_again() -> None:
    """As a library does that is closing its connection at that moment."""
    lost: list[str] = []

    async def part() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append("once")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(part(), name="events")
        await asyncio.sleep(0)
        await end([task])
    assert task.cancelled()
    assert lost == ["once"]


async def test_an_orderly_stop_of_a_child_is_not_cut_short() -> None:
    """While another part must be told again, the child's stop goes to its end."""
    told, stopped = asyncio.Event(), asyncio.Event()

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await told.wait()
            stopped.set()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await asyncio.Event().wait()
            finally:
                told.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(child(), name="media_child"),
            group.create_task(stubborn(), name="events"),
        ]
        await asyncio.sleep(0)
        await end(tasks)
    assert stopped.is_set()
