"""The driver against a simulated terminal in another process."""

import pytest

from tests.integration.edge_agent.conftest import Bench, StartTerminal
from tests.waiting import until

pytestmark = pytest.mark.integration


async def test_live_and_stored_scans_are_one_punch_each(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal("--stored", "30", "--users", "1001,1002")
    async with bench.driving(terminal.port, reconcile_s=1):
        await until(lambda: len(bench.punches()) == 30)
        await terminal.order(punch={"user": "1002", "direction": "out", "verify": "face"})
        await until(lambda: len(bench.punches()) == 31)
        await until(lambda: bench.health.now == "ok")
        last = bench.events.of("punch")[-1]
        assert (last["terminal_user"], last["direction"]) == ("1002", "out")
        assert (last["verify"], last["origin"]) == ("face", "live")
        # several reconciliations later it is still one punch
        looked = len(bench.health.offsets)
        await terminal.order(punch={"user": "1001"})
        await until(lambda: len(bench.punches()) == 32)
        assert len(set(bench.punches())) == 32
        assert len(bench.health.offsets) >= looked
    assert bench.health.described["serial"] == "SIM0000001"
    assert bench.health.described["model"] == "F19"


@pytest.mark.parametrize(
    ("record", "event"), [("40", "32"), ("16", "12"), ("8", "10"), ("40", "52")]
)
async def test_a_burst_of_200_comes_once_each_and_in_order(
    bench: Bench, start_terminal: StartTerminal, record: str, event: str
) -> None:
    terminal = await start_terminal("--record-width", record, "--event-width", event)
    async with bench.driving(terminal.port, reconcile_s=1):
        await until(lambda: bench.health.now == "ok")
        assert (await terminal.order(burst=200))["punches"] == 200
        await until(lambda: len(bench.punches()) >= 200)
        times = [body["terminal_time"] for body in bench.events.of("punch")]
        assert len(set(bench.punches())) == len(times) == 200
        assert times == sorted(times)


async def test_two_scans_in_one_second_are_two_punches(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal()
    async with bench.driving(terminal.port, reconcile_s=1):
        await until(lambda: bench.health.now == "ok")
        for _ in range(3):
            await terminal.order(punch={"user": "1001", "direction": "in"})
        await until(lambda: len(bench.punches()) == 3, 20)


async def test_a_wrong_key_is_told_and_mended_by_the_file(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal()
    bench.key_file.write_text("9")
    async with bench.driving(terminal.port):
        await until(lambda: bench.health.now == "bad_credentials")
        assert "comm_key_file" in bench.health.reports[-1][2]
        bench.key_file.write_text("1234")
        await until(lambda: bench.health.now == "ok", 20)


async def test_garbage_is_told_and_costs_no_punch(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal()
    async with bench.driving(terminal.port):
        await until(lambda: bench.health.now == "ok")
        await terminal.order(garbage=True)
        await terminal.order(punch={"user": "1001"})
        await until(lambda: "protocol_garbage" in bench.health.causes)
        await until(lambda: bench.health.now == "ok" and len(bench.punches()) == 1, 20)


async def test_a_server_that_is_no_terminal_is_told(bench: Bench) -> None:
    import asyncio

    async def web(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4000)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    async with server, bench.driving(server.sockets[0].getsockname()[1]):
        await until(lambda: bench.health.now == "protocol_garbage")


async def test_a_cut_line_loses_nothing(bench: Bench, start_terminal: StartTerminal) -> None:
    terminal = await start_terminal()
    async with bench.driving(terminal.port):
        await until(lambda: bench.health.now == "ok")
        await terminal.order(drop=True)
        await terminal.order(punch={"user": "1001"})
        await until(lambda: len(bench.punches()) == 1, 20)
        assert "unreachable" in bench.health.causes


async def test_a_terminal_that_is_away_at_start_is_found_later(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    gone = await start_terminal()
    await gone.stop()
    async with bench.driving(gone.port):
        await until(lambda: bench.health.now == "unreachable")
        await start_terminal(port=gone.port)
        await until(lambda: bench.health.now == "ok", 20)


async def test_a_wrong_clock_is_measured_told_and_not_touched(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal()
    await terminal.order(clock_offset_s=-120)
    async with bench.driving(terminal.port, poll_s=1):
        await until(lambda: bench.health.now == "clock_wrong")
        assert "慢 120 秒" in bench.health.reports[-1][2]
        (measured,) = bench.events.of("clock")
        assert abs(measured["offset_ms"] + 120_000) < 5_000
        await terminal.order(punch={"user": "1001"})
        await until(lambda: len(bench.punches()) == 1)
        assert bench.events.of("punch")[0]["terminal_offset_ms"] < -110_000
        assert bench.health.now == "clock_wrong"
        await terminal.order(clock_offset_s=0)
        await until(lambda: bench.health.now == "ok")
        assert len(bench.events.of("clock")) == 2


async def test_a_profile_may_let_the_clock_be_set(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal()
    await terminal.order(clock_offset_s=600)
    async with bench.driving(terminal.port, quirks={"set_clock": True}):
        await until(lambda: bench.health.now == "ok")
        assert bench.health.offsets[0] > 590_000
        assert abs(bench.health.offsets[-1]) < 5_000


async def test_a_full_spool_leaves_the_scan_in_the_terminal(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal()
    async with bench.driving(terminal.port, reconcile_s=1):
        await until(lambda: bench.health.now == "ok")
        bench.events.is_full = True
        await terminal.order(punch={"user": "1001"})
        await until(lambda: bench.health.now == "spool_full")
        bench.events.is_full = False
        await until(lambda: len(bench.punches()) == 1 and bench.health.now == "ok")


async def test_a_terminal_without_live_events_is_read_by_back_fill(
    bench: Bench, start_terminal: StartTerminal
) -> None:
    terminal = await start_terminal()
    await terminal.order(refuse_live=True)
    async with bench.driving(terminal.port, reconcile_s=1):
        await until(lambda: bench.health.now == "ok")
        assert "不支持实时事件" in bench.health.reports[-1][2]
        await terminal.order(punch={"user": "1001"})
        await until(lambda: len(bench.punches()) == 1)
