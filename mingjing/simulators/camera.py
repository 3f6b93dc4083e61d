"""An IP camera in a process of its own: ``python -m mingjing.simulators.camera --port 0``.

Prints ``{"event": "ready", "port": …, "url": …}`` once it listens; SIGTERM or SIGINT ends it. Any
path gives the stream, but one that contains ``/missing`` is answered with 404.
"""

import argparse
import asyncio
import json
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from contracts.clock import SystemClock
from contracts.errors import MingjingError
from mingjing.simulators.broadcast import Broadcast, Faults
from mingjing.simulators.camera_source import (
    ClipSource,
    FilePainter,
    LiveSource,
    VideoOptions,
    VideoSource,
    scene_source,
)
from mingjing.simulators.rtsp_server import CameraAccess, RtspServer

_SIMPLE_FAULTS = ("no-key-frames", "unsupported-codec", "garbage", "refuse", "busy")
_KEY_FAULTS = ("stall-after", "lose-permille")


def main(arguments: list[str] | None = None) -> int:
    """Run the camera until it is told to stop; 2 when the options do not make sense."""
    options = _parser().parse_args(arguments)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_run(options))
    except (MingjingError, OSError) as exc:
        print(json.dumps({"event": "error", "message": str(exc)}), flush=True)
        return 2
    return 0


def parse_faults(values: list[str]) -> Faults:
    """Read ``--fault`` values.

    Raises:
        argparse.ArgumentTypeError: an unknown fault or a number that is none.
    """
    stall_after_s: float | None = None
    lose_permille = 0
    named: set[str] = set()
    for value in values:
        name, _, number = value.partition("=")
        if name in _SIMPLE_FAULTS and not number:
            named.add(name)
        elif name in _KEY_FAULTS and number.replace(".", "", 1).isdigit():
            if name == "stall-after":
                stall_after_s = float(number)
            else:
                lose_permille = int(float(number))
        else:
            known = ", ".join([*_SIMPLE_FAULTS, *(f"{name}=N" for name in _KEY_FAULTS)])
            raise argparse.ArgumentTypeError(f"{value!r} is none of: {known}")
    return Faults(
        no_key_frames="no-key-frames" in named,
        unsupported_codec="unsupported-codec" in named,
        garbage="garbage" in named,
        refuse="refuse" in named,
        busy="busy" in named,
        stall_after_s=stall_after_s,
        lose_permille=lose_permille,
    )


async def _run(options: argparse.Namespace) -> None:
    clock = SystemClock()
    faults = parse_faults(options.fault)
    source = await asyncio.to_thread(_source, options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as stack:
        record = None
        if options.record_sent:
            record = stack.enter_context(options.record_sent.open("a"))
        broadcast = Broadcast(
            source,
            clock,
            fps=options.fps,
            has_audio=options.audio == "pcma",
            faults=faults,
            record=record,
        )
        server = RtspServer(
            broadcast,
            source.parameter_sets,
            access=_access(options),
            faults=faults,
            session_timeout_s=options.session_timeout,
        )
        listener = await server.start(options.host, options.port)
        port = listener.sockets[0].getsockname()[1]
        url = f"rtsp://{options.host}:{port}/main"
        print(json.dumps({"event": "ready", "port": port, "url": url}), flush=True)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(broadcast.run(), name="broadcast")
            await stop.wait()
            listener.close()
            sending.cancel()


def _source(options: argparse.Namespace) -> VideoSource:
    video = VideoOptions(
        width=options.width,
        height=options.height,
        fps=options.fps,
        kbps=options.kbps,
        gop=options.gop,
        profile=options.profile,
    )
    if options.mode == "clip":
        return ClipSource(video, options.cache)
    if options.file:
        painter = FilePainter(options.file, video.width, video.height)
        return LiveSource(video, painter, clock=not options.no_clock)
    return scene_source(video, portrait=options.portrait, period_s=options.presence_period)


def _access(options: argparse.Namespace) -> CameraAccess:
    password = options.password
    if options.password_file:
        password = options.password_file.read_text().strip()
    return CameraAccess(username=options.username, password=password, scheme=options.auth)


def _even(text: str) -> int:
    number = int(text)
    if number < 96 or number > 4096 or number % 2:  # noqa: PLR2004 - what the scene can draw
        raise argparse.ArgumentTypeError(f"{text} is no even number from 96 to 4096")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="camera", description="A simulated RTSP camera.")
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes any free port")
    add("--mode", choices=("live", "clip"), default="live", help="clip: encoded once, cheap")
    add("--width", type=_even, default=1280)
    add("--height", type=_even, default=720)
    add("--fps", type=int, choices=range(1, 61), default=25, metavar="1-60")
    add("--kbps", type=int, default=2500)
    add("--gop", type=int, default=50, help="pictures from key frame to key frame")
    add("--profile", choices=("baseline", "main", "high"), default="baseline")
    add("--audio", choices=("pcma", "none"), default="pcma")
    add("--portrait", type=Path, help="picture of a person who comes and goes")
    add("--presence-period", type=float, default=20.0, help="seconds of one coming and going")
    add("--file", type=Path, help="play this video in a loop instead of the counter")
    add("--no-clock", action="store_true", help="do not burn the clock into --file")
    add("--username", default="", help="ask for credentials")
    add("--password", default="")
    add("--password-file", type=Path)
    add("--auth", choices=("basic", "digest", "digest-sha256"), default="digest")
    add("--session-timeout", type=int, default=60, help="seconds without a sign of life")
    add("--fault", action="append", default=[], help="what goes wrong; may be repeated")
    add("--record-sent", type=Path, help="append the SHA-256 of each access unit sent, one a line")
    add("--cache", type=Path, default=Path.home() / ".cache" / "mingjing" / "clips")
    return parser


if __name__ == "__main__":
    sys.exit(main())
