"""Control of the media process over a UNIX socket: JSON lines, one answer per request.

A request is ``{"id": 1, "op": "publish", ...}``, its answer ``{"id": 1, "result": {…}}`` or
``{"id": 1, "error": {"kind": "codec", "message": "…", "field": "…"}}``. The request ``key_frames``
turns its connection into a one-way feed: a JSON header line ``{"stream", "wall_ns", "size"}``, then
that many octets, again and again. Only this machine's user can open the socket.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from contracts.clock import Clock
from contracts.errors import Conflict, Denied, InvalidInput, MingjingError, Unavailable
from contracts.timestamps import WallTime
from contracts.wire.footage import GapCause
from gateway.core.media_errors import CodecMismatch, UnknownStream
from gateway.core.media_status import MediaStatus

_log = structlog.get_logger(__name__)

SOCKET_NAME = "media.sock"
"""Name of the socket inside the gateway's data folder."""

_MOST_LINE = 256 << 10
_MOST_PICTURE = 16 << 20
_ANSWER_S = 20.0
_RETRY_S = 1.0
_SEND_BUFFER = 1 << 20
_ERRORS: Mapping[str, type[MingjingError]] = {
    "codec": CodecMismatch,
    "unknown_stream": UnknownStream,
    "invalid": InvalidInput,
    "denied": Denied,
    "conflict": Conflict,
    "unavailable": Unavailable,
}
"""Most specific first: an error is sent as the first kind it is an instance of."""


class KeyFrameFeed(Protocol):
    """One subscriber's newest key frames."""

    async def next(self) -> tuple[str, WallTime, bytes]:
        """(stream, wall time, Annex B); waits for one."""
        ...

    def close(self) -> None:
        """End the subscription."""
        ...


class MediaCommands(Protocol):
    """What the media process does on request."""

    async def publish(self, *, stream: str, device: str, sdp: str) -> tuple[str, str]:
        """Begin a publishing session: (session, SDP answer)."""
        ...

    async def view(self, *, stream: str, sdp: str) -> tuple[str, str]:
        """Begin a viewing session: (session, SDP answer)."""
        ...

    async def close(self, *, session: str, stream: str) -> None:
        """End a session of that stream."""
        ...

    async def expect(self, *, streams: list[str]) -> None:
        """These streams should deliver; no others."""
        ...

    async def set_cause(self, *, stream: str, cause: GapCause | None, detail: str) -> None:
        """What is known of a stream's silence."""
        ...

    def status(self) -> MediaStatus:
        """The state of everything."""
        ...

    def key_frames(self, *, interval_s: float) -> KeyFrameFeed:
        """Subscribe: at most one key frame per stream and interval."""
        ...


class MediaControl:
    """Asks the media process; also a `gateway.ports.CauseSink`. One connection per request."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def publish(self, stream: str, device: str, sdp: str) -> tuple[str, str]:
        """Begin a publishing session, replacing the stream's former one.

        Returns:
            The session's id and the SDP answer.

        Raises:
            InvalidInput: the offer is unusable.
            CodecMismatch: no common codec.
            Unavailable: the media process is away or cannot bind an address.
        """
        result = await self._ask("publish", stream=stream, device=device, sdp=sdp)
        return str(result["session"]), str(result["sdp"])

    async def view(self, stream: str, sdp: str) -> tuple[str, str]:
        """Begin a viewing session: (session, SDP answer).

        Raises:
            UnknownStream: there is no such stream.
            InvalidInput, CodecMismatch, Unavailable: as for `publish`.
        """
        result = await self._ask("view", stream=stream, sdp=sdp)
        return str(result["session"]), str(result["sdp"])

    async def close(self, stream: str, session: str) -> None:
        """End a session. One that is over already is no error.

        Raises:
            Unavailable: the media process is away.
        """
        await self._ask("close", stream=stream, session=session)

    async def expect(self, streams: list[str]) -> None:
        """State which streams should deliver; the others are forgotten once they are silent.

        Raises:
            Unavailable: the media process is away; say it again when it is back.
        """
        await self._ask("expect", streams=streams)

    async def set_cause(self, stream: str, cause: GapCause | None, detail: str = "") -> None:
        """Set or clear the known cause of one stream's silence.

        Raises:
            Unavailable: the media process is away.
        """
        await self._ask("set_cause", stream=stream, cause=cause, detail=detail)

    async def status(self) -> MediaStatus:
        """The state of every stream.

        Raises:
            Unavailable: the media process is away.
        """
        return MediaStatus.model_validate(await self._ask("status"))

    async def _ask(self, op: str, **parameters: object) -> dict[str, Any]:
        request = json.dumps({"id": 1, "op": op, **parameters}).encode() + b"\n"
        try:
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=_MOST_LINE)
                try:
                    writer.write(request)
                    line = await reader.readline()
                finally:
                    writer.close()
            answer = json.loads(line)
        except (OSError, TimeoutError, ValueError) as exc:
            raise Unavailable(
                f"媒体进程没有运行或没有回答，网关会自动重新启动它 (media process, {op}): no answer"
            ) from exc
        if "error" in answer:
            raise _from_wire(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result


class SocketKeyFrames:
    """The media process's key frames (`gateway.ports.KeyFrames`); reconnects by itself."""

    def __init__(self, path: Path, *, clock: Clock, interval_s: float = 2.0) -> None:
        self._path = path
        self._clock = clock
        self._interval_s = interval_s

    async def __aiter__(self) -> AsyncIterator[tuple[str, WallTime, bytes]]:
        """(stream, wall time of the frame, Annex B access unit with its parameter sets)."""
        request = {"id": 1, "op": "key_frames", "interval_s": self._interval_s}
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=_MOST_LINE)
                try:
                    writer.write(json.dumps(request).encode() + b"\n")
                    while line := await reader.readline():
                        header = json.loads(line)
                        if not 0 <= header["size"] <= _MOST_PICTURE:
                            break
                        picture = await reader.readexactly(header["size"])
                        yield header["stream"], WallTime(header["wall_ns"]), picture
                finally:
                    writer.close()
            await self._clock.sleep(_RETRY_S)


class MediaControlServer:
    """Answers `MediaControl` and `SocketKeyFrames` inside the media process."""

    def __init__(self, path: Path, commands: MediaCommands) -> None:
        self._path = path
        self._commands = commands

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            Unavailable: the socket cannot be bound.
        """
        try:
            self._path.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(self._serve, self._path, limit=_MOST_LINE)
            self._path.chmod(0o600)
        except OSError as exc:
            raise Unavailable(f"{self._path}: {exc.strerror}") from exc
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                request = json.loads(line)
                if not isinstance(request, dict):
                    return
                if request.get("op") == "key_frames":
                    await self._feed(float(request["interval_s"]), writer)
                    return
                writer.write(json.dumps(await self._answer(request)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, LookupError) as exc:
            _log.debug("control_connection_ended", reason=repr(exc))
        finally:
            writer.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        number = request.pop("id", None)
        try:
            return {"id": number, "result": await self._dispatch(request.pop("op"), request)}
        except MingjingError as exc:
            return {"id": number, "error": _to_wire(exc)}
        except Exception as exc:  # noqa: BLE001 - supervisor: a bad request must not stop recording
            _log.exception("control_request_failed")
            return {"id": number, "error": {"kind": "unavailable", "message": repr(exc)}}

    async def _dispatch(self, op: str, parameters: dict[str, Any]) -> dict[str, Any]:
        commands = self._commands
        if op in ("publish", "view"):
            session, sdp = await getattr(commands, op)(**parameters)
            return {"session": session, "sdp": sdp}
        if op == "status":
            return commands.status().model_dump(mode="json")
        if op in ("close", "expect", "set_cause"):
            await getattr(commands, op)(**parameters)
            return {}
        raise InvalidInput(f"{op!r} is not a request", field="op")

    async def _feed(self, interval_s: float, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        feed = self._commands.key_frames(interval_s=interval_s)
        try:
            while True:
                stream, wall, picture = await feed.next()
                header = {"stream": stream, "wall_ns": wall, "size": len(picture)}
                writer.write(json.dumps(header).encode() + b"\n" + picture)
                await writer.drain()
        finally:
            feed.close()


def _to_wire(error: MingjingError) -> dict[str, str]:
    kind = next((kind for kind, of in _ERRORS.items() if isinstance(error, of)), "unavailable")
    field = error.field if isinstance(error, InvalidInput) else ""
    message = str(error).removeprefix(f"{field}: ") if field else str(error)
    return {"kind": kind, "message": message, "field": field}


def _from_wire(error: dict[str, str]) -> MingjingError:
    of = _ERRORS.get(error["kind"], Unavailable)
    if issubclass(of, InvalidInput):
        return of(error["message"], field=error.get("field", ""))
    return of(error["message"])
