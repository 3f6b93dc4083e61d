"""Keeps the media process told: which streams to expect, and what it forgot when it restarted."""

from collections.abc import Callable
from typing import Protocol

import structlog

from contracts.clock import Clock
from contracts.errors import Unavailable
from contracts.ids import stream_id
from contracts.wire.orders import SiteOrder
from gateway.core.media_status import MediaStatus
from gateway.ports import Register

_TICK_S = 1.0

_log = structlog.get_logger()


class MediaProcess(Protocol):
    """The media process, as far as keeping it told goes."""

    async def status(self) -> MediaStatus:
        """The state of everything; `Unavailable` while it is away."""
        ...

    async def expect(self, streams: list[str]) -> None:
        """These streams should deliver."""
        ...


class MediaKeeper:
    """Watches the media process once a second."""

    def __init__(
        self,
        *,
        clock: Clock,
        media: MediaProcess,
        register: Register,
        started_anew: Callable[[], None],
    ) -> None:
        """`started_anew` is called whenever the process is seen for the first time."""
        self._clock = clock
        self._media = media
        self._register = register
        self._started_anew = started_anew
        self._told: list[str] | None = None
        self.status: MediaStatus | None = None

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await self.look()
            await self._clock.sleep(_TICK_S)

    async def look(self) -> None:
        """Look once: keep the status, and tell what is not told yet."""
        try:
            status = await self._media.status()
            if self.status is None:
                _log.info("media_process_answers")
                self._told = None
                self._started_anew()
            self.status = status
            streams = _streams(await self._register.site())
            if streams != self._told:
                await self._media.expect(streams)
                self._told = streams
        except Unavailable as exc:
            if self.status is not None:
                _log.warning("media_process_silent", reason=str(exc))
            self.status = None


def _streams(site: SiteOrder | None) -> list[str]:
    return sorted(
        str(stream_id(device.id, name))
        for device in (site.devices if site else ())
        for name in device.streams
    )
