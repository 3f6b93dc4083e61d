"""How the gateway fares: ``/healthz`` for whoever asks, ``/v1/status`` for central."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from contracts.tokens import Grant
from gateway.api.auth import GrantChecker
from gateway.core.media_status import MediaStatus

Health = Literal["online", "starting", "degraded", "offline", "off"]


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True)


class PartReport(_Report):
    """One part; `detail` is one line for an operator."""

    health: Health
    detail: str = ""
    starts: int = 0


class VolumeReport(_Report):
    """A volume of footage."""

    path: str
    free_bytes: int
    total_bytes: int


class StatusReport(_Report):
    """Everything central shows about a gateway."""

    site: str
    at_ns: int
    health: Health
    broker: PartReport
    media: PartReport
    detector: PartReport
    register_version: int | None
    counts: dict[str, int]
    volumes: tuple[VolumeReport, ...]
    streams: MediaStatus | None
    devices: dict[str, PartReport]


def status_router(
    report: Callable[[], Awaitable[StatusReport]], checker: GrantChecker
) -> APIRouter:
    """Make the routes; `report` is called for each request."""
    router = APIRouter(tags=["status"])
    may = Annotated[Grant, Depends(checker.require("status"))]

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Says that this process answers, and nothing else: anybody may ask."""
        return {"status": "ok"}

    @router.get("/v1/status")
    async def status(_: may) -> StatusReport:
        """The health of every part, device and stream."""
        return await report()

    return router
