"""The media process: receives, buffers, records and shows streams, and does nothing else.

``python -m gateway media --config gateway.toml`` serves the control socket ``media.sock`` in the
gateway's data folder until SIGTERM; then publishers are let go, every recorder hands over what it
has, and the volumes are closed. It needs neither broker nor database nor network to record.
"""

import asyncio
import fcntl
import signal
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import structlog
import uvloop

from contracts.clock import Clock, SystemClock
from contracts.errors import MingjingError, Unavailable
from contracts.wire.footage import GapCause
from gateway.adapters.footage.store import FootageStore
from gateway.adapters.media_control import SOCKET_NAME, MediaControlServer
from gateway.adapters.webrtc.receiver import WebrtcReceiver
from gateway.adapters.webrtc.viewer import WebrtcViewers
from gateway.config import GatewayConfig
from gateway.core.media_status import MediaStatus, VolumeFault
from gateway.ports import UnitCursor
from gateway.services.media.key_frame_hub import KeyFrameHub
from gateway.services.media.media_sessions import MediaSessions
from gateway.services.recorder import Recorder

_log = structlog.get_logger(__name__)

_LOCK_NAME = "media.lock"


class Volumes:
    """The site's volumes; each stream lives on one of them, always the same."""

    def __init__(self, folders: Sequence[Path], *, clock: Clock) -> None:
        self._clock = clock
        self._faults: dict[str, VolumeFault] = {}
        self._stores = [
            FootageStore(folder, clock=clock, on_fault=self._listener(folder.name))
            for folder in folders
        ]

    @property
    def faults(self) -> tuple[VolumeFault, ...]:
        """Volumes that do not take footage now."""
        return tuple(self._faults.values())

    def recorder(self, stream: str, cursor: UnitCursor) -> Recorder:
        """A recorder of that stream on its volume."""
        store = self._stores[zlib.crc32(stream.encode()) % len(self._stores)]
        return Recorder(stream, cursor, store, self._clock)

    async def open(self, group: asyncio.TaskGroup) -> None:
        """Lock the volumes, recover what a crash left, start their writers.

        Raises:
            Unavailable: a volume is in use or cannot be written.
        """
        for store in self._stores:
            try:
                await store.open()
            except OSError as exc:
                raise Unavailable(f"{exc.filename}: {exc.strerror}") from exc
            group.create_task(store.run())

    async def close(self) -> None:
        """Write the rest and give the volumes up; their writers return."""
        for store in self._stores:
            await store.close()

    def _listener(self, volume: str) -> "_FaultListener":
        return _FaultListener(self._faults, volume)


class _FaultListener:
    """Keeps the present fault of one volume, and logs once per change."""

    def __init__(self, faults: dict[str, VolumeFault], volume: str) -> None:
        self._faults = faults
        self._volume = volume

    def __call__(self, cause: GapCause | None, detail: str) -> None:
        if cause is None:
            if self._faults.pop(self._volume, None) is not None:
                _log.info("volume_recovered", volume=self._volume)
            return
        if self._volume not in self._faults:
            _log.error("volume_failed", volume=self._volume, cause=cause, detail=detail)
        self._faults[self._volume] = VolumeFault(volume=self._volume, cause=cause, detail=detail)


class _Commands:
    """Joins sessions, key frames and volumes for the control server (`MediaCommands`)."""

    def __init__(self, sessions: MediaSessions, hub: KeyFrameHub, volumes: Volumes) -> None:
        self.publish = sessions.publish
        self.view = sessions.view
        self.close = sessions.close
        self.expect = sessions.expect
        self.set_cause = sessions.set_cause
        self.key_frames = hub.subscribe
        self._sessions = sessions
        self._volumes = volumes

    def status(self) -> MediaStatus:
        return self._sessions.status().model_copy(update={"faults": self._volumes.faults})


async def serve(
    *,
    socket: Path,
    volumes: Sequence[Path],
    ice_addresses: Sequence[str],
    clock: Clock,
    stop: asyncio.Event,
) -> None:
    """Run until `stop` is set.

    Raises:
        Unavailable: the socket or a volume cannot be used.
    """
    receiver = WebrtcReceiver(clock=clock, addresses=ice_addresses)
    viewers = WebrtcViewers(clock=clock, addresses=ice_addresses)
    hub = KeyFrameHub(clock)
    footage = Volumes(volumes, clock=clock)
    sessions = MediaSessions(
        clock=clock,
        publishers=receiver,
        viewers=viewers,
        new_recording=footage.recorder,
        on_unit=hub.offer,
    )
    control = MediaControlServer(socket, _Commands(sessions, hub, footage))
    async with asyncio.TaskGroup() as writers:
        await footage.open(writers)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(part.run(), name=type(part).__name__)
                    for part in (sessions, receiver, viewers, control)
                ]
                _log.info("media_process_ready", socket=str(socket))
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await footage.close()
    _log.info("media_process_stopped")


async def _run(config: GatewayConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(
        socket=config.data / SOCKET_NAME,
        volumes=config.media.volumes,
        ice_addresses=config.media.ice_addresses,
        clock=SystemClock(),
        stop=stop,
    )


def main(config: GatewayConfig) -> int:
    """Run the process until SIGTERM; the exit status is 1 when something was not available."""
    config.data.mkdir(parents=True, exist_ok=True)
    status = 0
    with (config.data / _LOCK_NAME).open("w") as lock:
        try:
            _take(lock)
            uvloop.run(_run(config))
        except* MingjingError as group:
            status = 1
            for exc in _leaves(group):
                sys.stderr.write(f"media: {exc}\n")
    return status


def _take(lock: TextIO) -> None:
    """Refuse a second media process: two would fight for the socket and the volumes.

    Raises:
        Unavailable: another one runs.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise Unavailable("已有媒体进程在运行 (another media process is running)") from exc


def _leaves(group: BaseExceptionGroup[MingjingError]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc
