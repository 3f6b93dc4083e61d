"""A simulated ZKTeco terminal as a program: the real protocol on TCP, orders as JSON on stdin.

``python -m mingjing.simulators.zk_terminal --port 0 --comm-key 1234 --serial SIM0000001``

Prints ``{"event": "ready", "port": …}``, then obeys one JSON object a line and answers each with
``{"event": "done", …}`` or ``{"event": "error", "message": …}``:

* ``{"punch": {"user": "1001", "direction": "in"}}`` a finger is laid on;
* ``{"burst": 200}`` or ``{"burst": {"count": 200, "user": "1001"}}`` many at once, up to 50 events
  in one TCP segment;
* ``{"garbage": true}`` every listening client gets bytes that are no frame;
* ``{"drop": true}`` every connection is cut;
* ``{"clock_offset_s": 120}`` its clock is wrong by so much;
* ``{"refuse_live": true}`` it denies live events from now on.

It ends on SIGTERM, and with stdin when that is a pipe.
"""

import argparse
import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.clock import SystemClock
from contracts.errors import InvalidInput, ProtocolError
from edge_agent.core.zk_frames import FrameReader
from mingjing.simulators.zk_device import (
    DIRECTION,
    MOST_FRAMES_PER_SEGMENT,
    VERIFY,
    DeviceOptions,
    Scan,
    Session,
    ZkDevice,
)

_RUBBISH = bytes(range(7, 250)) * 3


class TerminalServer:
    """Serves one `ZkDevice` to any number of clients."""

    def __init__(self, device: ZkDevice) -> None:
        self.device = device
        self._clock = SystemClock()
        self._clients: dict[asyncio.StreamWriter, Session] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it leaves."""
        session = self.device.open_session()
        self._clients[writer] = session
        frames = FrameReader()
        try:
            while data := await reader.read(65536):
                for frame in frames.feed(data):
                    writer.write(self.device.answer(session, frame, self._clock.now()))
                await writer.drain()
        except (ConnectionError, ProtocolError):
            pass  # the client went away, or speaks something else: a terminal just hangs up
        finally:
            self._clients.pop(writer, None)
            writer.close()

    def obey(self, order: Any) -> dict[str, Any]:
        """Carry out one order of stdin.

        Raises:
            InvalidInput: no such order, or a wrong value.
        """
        match order:
            case {"punch": dict(punch)}:
                return self._publish([self._punch(punch)])
            case {"burst": int(count)}:
                return self._burst(count, self.device.options.users[0])
            case {"burst": {"count": int(count), "user": str(user)}}:
                return self._burst(count, user)
            case {"garbage": True}:
                self._to_listeners(_RUBBISH)
            case {"drop": True}:
                for writer in list(self._clients):
                    writer.transport.abort()
            case {"clock_offset_s": int() | float() as offset}:
                self.device.clock_offset_s = offset
            case {"refuse_live": bool(refuses)}:
                self.device.refuses_live = refuses
            case _:
                raise InvalidInput("no such order", field="order")
        return {}

    def _burst(self, count: int, user: str) -> dict[str, Any]:
        return self._publish(self.device.burst(count, user=user, now=self._clock.now()))

    def _punch(self, punch: dict[str, Any]) -> Scan:
        user = str(punch.get("user", self.device.options.users[0]))
        direction = punch.get("direction", "in")
        verify = punch.get("verify", "finger")
        if direction not in DIRECTION:
            raise InvalidInput(f"is none of {', '.join(DIRECTION)}", field="punch.direction")
        if verify not in VERIFY:
            raise InvalidInput(f"is none of {', '.join(VERIFY)}", field="punch.verify")
        return self.device.scan(user, direction=direction, verify=verify, now=self._clock.now())

    def _publish(self, scans: Sequence[Scan]) -> dict[str, Any]:
        for at in range(0, len(scans), MOST_FRAMES_PER_SEGMENT):
            events = map(self.device.event, scans[at : at + MOST_FRAMES_PER_SEGMENT])
            self._to_listeners(b"".join(events))
        return {"punches": len(scans), "stored": len(self.device.scans)}

    def _to_listeners(self, data: bytes) -> None:
        for writer, session in self._clients.items():
            if session.listens:
                writer.write(data)


async def run(options: DeviceOptions, *, host: str, port: int, stored: int) -> None:
    """Serve until stdin ends or SIGTERM comes."""
    device = ZkDevice(options=options)
    if stored:
        device.burst(stored, user=options.users[0], now=SystemClock().now())
    terminal = TerminalServer(device)
    server = await asyncio.start_server(terminal.serve, host, port)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _say({"event": "ready", "port": server.sockets[0].getsockname()[1]})
    async with asyncio.TaskGroup() as group:
        orders = group.create_task(_obey_stdin(terminal, stopping))
        await stopping.wait()
        orders.cancel()
        server.close()
        terminal.obey({"drop": True})


async def _obey_stdin(terminal: TerminalServer, stopping: asyncio.Event) -> None:
    lines = asyncio.StreamReader()
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return  # nobody can give orders; serve until SIGTERM
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            _say({"event": "done", **terminal.obey(json.loads(line))})
        except (InvalidInput, ValueError) as exc:
            _say({"event": "error", "message": str(exc)})
    stopping.set()


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message, ensure_ascii=False), flush=True)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="zk_terminal", description="simulated ZKTeco terminal")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4370, help="0 picks a free one")
    parser.add_argument("--comm-key", type=int, default=0, help="0 means none")
    parser.add_argument("--comm-key-file", type=Path, help="a file that holds it")
    parser.add_argument("--serial", default="SIM0000001")
    parser.add_argument("--users", default="1001", help="user ids, separated by commas")
    parser.add_argument("--stored", type=int, default=0, help="scans in its store at start")
    parser.add_argument("--event-width", type=int, default=32)
    parser.add_argument("--record-width", type=int, default=40, choices=(40, 16, 8))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the program."""
    parsed = parse_arguments(arguments)
    key = parsed.comm_key_file.read_text() if parsed.comm_key_file else parsed.comm_key
    options = DeviceOptions(
        serial=parsed.serial,
        comm_key=int(key),
        users=tuple(parsed.users.split(",")),
        event_width=parsed.event_width,
        record_width=parsed.record_width,
    )
    asyncio.run(run(options, host=parsed.host, port=parsed.port, stored=parsed.stored))


if __name__ == "__main__":
    main(sys.argv[1:])
