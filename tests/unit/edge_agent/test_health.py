import asyncio

from contracts.clock import ManualClock
from contracts.wire.devices import DeviceDesc
from edge_agent.supervisor import BoardOptions, DeviceBoard, supervise
from tests.fakes.device_sinks import FakeHealth
from tests.waiting import until


def board(clock):
    desc = DeviceDesc(device="zk-07", device_class="fingerprint_terminal", certificate="PEM")
    return DeviceBoard(BoardOptions(desc=desc, boot="b1"), clock=clock)


def test_a_device_that_nobody_spoke_of_is_starting(clock):
    state = board(clock).state()
    assert (state.health, state.cause, state.boot) == ("degraded", "starting", "b1")


def test_the_worst_part_speaks_and_equal_ones_by_age(clock):
    status = board(clock)
    status.reporter("uplink").report("online", "ok")
    status.reporter("driver").report("offline", "unreachable", "拔了")
    clock.advance(1)
    status.reporter("spool").report("degraded", "spool_full")
    assert (status.state().cause, status.state().detail) == ("unreachable", "拔了")
    status.reporter("driver").report("degraded", "clock_wrong")
    assert status.state().cause in {"spool_full", "clock_wrong"}
    clock.advance(1)
    status.reporter("driver").report("degraded", "protocol_garbage")
    assert status.state().cause == "protocol_garbage"
    status.reporter("driver").report("online", "ok")
    status.reporter("spool").report("online", "ok")
    assert status.state().health == "online"


def test_a_state_keeps_the_time_it_began_while_nothing_changes(clock):
    status = board(clock)
    driver = status.reporter("driver")
    driver.report("online", "ok")
    began = status.state().at_ns
    clock.advance(60)
    driver.report("online", "ok")
    assert status.state().at_ns == began


async def test_only_news_wakes_the_uplink(clock):
    status = board(clock)
    driver = status.reporter("driver")
    driver.report("online", "ok")
    version = await status.wait_changed(0)
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(status.wait_changed(version))
        driver.report("online", "ok")
        driver.describe(model="")
        await asyncio.sleep(0)
        assert not waiter.done()
        driver.describe(model="F19")
        await until(waiter.done)
    assert status.desc().model == "F19"
    assert status.desc().device == "zk-07"


def test_a_long_text_is_cut_to_what_the_wire_takes(clock):
    status = board(clock)
    status.reporter("driver").report("degraded", "internal_error", "很" * 900)
    assert len(status.state().detail) == 500


async def test_a_failing_driver_is_told_and_built_anew():
    clock, health, built = ManualClock(), FakeHealth(), []

    class Flaky:
        def __init__(self):
            built.append(self)

        async def run(self):
            if len(built) < 3:
                raise KeyError("boom")
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervise(Flaky, health, clock=clock, random=lambda: 0.0))

        def tick():
            clock.advance(5)
            return len(built) == 3

        await until(tick)
        task.cancel()
    assert health.causes == ["internal_error"]
    assert "KeyError" in health.reports[0][2]
