"""The port `central.ports.Gateways` over footage that a test lays out."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from central.ports import FileBytes, Permit
from contracts.errors import Unavailable
from contracts.wire.footage import Timeline

PLAYLIST = b"#EXTM3U\n#EXT-X-ENDLIST\n"


class FakeGateways:
    """Remembers what it was asked under which permit; `away` makes it unreachable."""

    def __init__(self) -> None:
        self.away = False
        self.timelines: dict[str, Timeline] = {}
        self.asked: list[tuple[str, Permit, tuple[int, int] | None]] = []
        self.live: list[str] = []

    async def timeline(self, permit: Permit, stream: str, span: tuple[int, int]) -> Timeline:
        self._note(stream, permit, span)
        found = self.timelines.get(stream)
        if found is not None:
            return found
        return Timeline(
            stream=stream, from_ns=span[0], to_ns=span[1], recorded=(), gaps=(), codec=None
        )

    async def playlist(self, permit: Permit, stream: str, span: tuple[int, int]) -> bytes:
        self._note(stream, permit, span)
        return PLAYLIST

    @asynccontextmanager
    async def file(
        self, permit: Permit, stream: str, name: str, headers: Mapping[str, str]
    ) -> AsyncIterator[FileBytes]:
        self._note(stream, permit, None)
        whole = f"bytes of {name}".encode()

        async def body() -> AsyncIterator[bytes]:
            yield whole[:3]
            yield whole[3:]

        yield FileBytes(status=206 if "range" in headers else 200, headers={}, body=body())

    async def watch(self, permit: Permit, stream: str, offer: bytes) -> tuple[bytes, str]:
        self._note(stream, permit, None)
        location = f"/whep/{stream}/1"
        self.live.append(location)
        return b"v=0 answer to " + offer[:3], location

    async def unwatch(self, permit: Permit, location: str) -> None:
        self._note(location, permit, None)
        self.live.remove(location)

    def _note(self, what: str, permit: Permit, span: tuple[int, int] | None) -> None:
        if self.away:
            raise Unavailable("the gateway is away")
        self.asked.append((what, permit, span))
