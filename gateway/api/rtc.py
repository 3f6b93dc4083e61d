"""WHIP (RFC 9725) for agents and WHEP for viewers: SDP in, SDP out; media never comes this way.

A publisher proves with its device certificate that it is the device whose stream it publishes. A
viewer's request comes from central, which holds the grant; browsers never do.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol

from cryptography import x509
from fastapi import APIRouter, HTTPException, Path, Request, Response, status

from contracts.clock import Clock
from contracts.errors import Conflict, Denied, InvalidInput, MingjingError, Unavailable
from contracts.ids import split_stream_id
from contracts.timestamps import NS
from contracts.tokens import read_device_proof
from gateway.api.auth import GrantChecker, require_stream
from gateway.core.media_errors import CodecMismatch, UnknownStream

_SDP = "application/sdp"
_MOST_SDP_BYTES = 64 << 10
_STATUS: tuple[tuple[type[MingjingError], int], ...] = (
    (CodecMismatch, status.HTTP_406_NOT_ACCEPTABLE),
    (UnknownStream, status.HTTP_404_NOT_FOUND),
    (InvalidInput, status.HTTP_400_BAD_REQUEST),
    (Denied, status.HTTP_403_FORBIDDEN),
    (Conflict, status.HTTP_409_CONFLICT),
    (Unavailable, status.HTTP_503_SERVICE_UNAVAILABLE),
)

StreamPath = Annotated[str, Path(max_length=130)]
SessionPath = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
IsRegistered = Callable[[str, str], Awaitable[bool]]
"""(device, stream) -> whether central's register has the device with that stream."""


class MediaSessions(Protocol):
    """The media process, as far as sessions go."""

    async def publish(self, stream: str, device: str, sdp: str) -> tuple[str, str]:
        """Begin a publishing session: (session, SDP answer)."""
        ...

    async def view(self, stream: str, sdp: str) -> tuple[str, str]:
        """Begin a viewing session: (session, SDP answer)."""
        ...

    async def close(self, stream: str, session: str) -> None:
        """End a session."""
        ...


class PublisherChecker:
    """Lets a device publish its own registered streams, and nobody else."""

    def __init__(
        self, *, site: str, ca: x509.Certificate, clock: Clock, is_registered: IsRegistered
    ) -> None:
        self._site = site
        self._ca = ca
        self._clock = clock
        self._is_registered = is_registered

    async def check(self, authorization: str, stream: str) -> str:
        """The device that may publish this stream.

        Raises:
            HTTPException: 401 without a valid proof, 403 for a stream that is not the device's or
                is not registered, 400 when the stream is no id.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "需要设备证明 (a device's proof is needed)",
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            proof = read_device_proof(
                token, ca=self._ca, site=self._site, now_s=self._clock.now() // NS
            )
        except (Denied, InvalidInput) as exc:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED, str(exc), {"WWW-Authenticate": "Bearer"}
            ) from exc
        device, _ = _stream_parts(stream)
        if device != proof.device:
            raise HTTPException(
                status.HTTP_403_FORBIDDEN, f"{stream} is not a stream of {proof.device}"
            )
        if not await self._is_registered(proof.device, stream):
            raise HTTPException(
                status.HTTP_403_FORBIDDEN,
                f"{stream} 未在本站点登记，请在中心登记设备 (not registered at this site)",
            )
        return proof.device


def rtc_router(
    *, media: MediaSessions, publishers: PublisherChecker, grants: GrantChecker
) -> APIRouter:
    """Routes ``/whip/…`` and ``/whep/…``."""
    router = APIRouter(tags=["rtc"])

    @router.post("/whip/{stream}", status_code=status.HTTP_201_CREATED)
    async def publish(stream: StreamPath, request: Request) -> Response:
        device = await publishers.check(_authorization(request), stream)
        offer = await _read_sdp(request)
        return await _begin(f"/whip/{stream}", media.publish(stream, device, offer))

    @router.delete("/whip/{stream}/{session}")
    async def withdraw(stream: StreamPath, session: SessionPath, request: Request) -> Response:
        await publishers.check(_authorization(request), stream)
        return await _end(media.close(stream, session))

    @router.post("/whep/{stream}", status_code=status.HTTP_201_CREATED)
    async def view(stream: StreamPath, request: Request) -> Response:
        require_stream(grants.check(_authorization(request), "live"), stream)
        _stream_parts(stream)
        offer = await _read_sdp(request)
        return await _begin(f"/whep/{stream}", media.view(stream, offer))

    @router.delete("/whep/{stream}/{session}")
    async def leave(stream: StreamPath, session: SessionPath, request: Request) -> Response:
        require_stream(grants.check(_authorization(request), "live"), stream)
        return await _end(media.close(stream, session))

    return router


def _authorization(request: Request) -> str:
    return request.headers.get("authorization", "")


def _stream_parts(stream: str) -> tuple[str, str]:
    try:
        return split_stream_id(stream)
    except InvalidInput as exc:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, str(exc)) from exc


async def _read_sdp(request: Request) -> str:
    """The offer of the request's body.

    Raises:
        HTTPException: 415 for another content type, 413 when too long, 400 when not UTF-8.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _SDP:
        raise HTTPException(
            status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
            f"the body must be {_SDP}",
            {"Accept-Post": _SDP},
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_SDP_BYTES:
            raise HTTPException(
                status.HTTP_413_CONTENT_TOO_LARGE, f"an SDP of over {_MOST_SDP_BYTES} octets"
            )
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "the SDP is not UTF-8") from exc


async def _begin(path: str, session: Awaitable[tuple[str, str]]) -> Response:
    try:
        name, answer = await session
    except MingjingError as exc:
        raise _refusal(exc) from exc
    return Response(
        answer,
        status.HTTP_201_CREATED,
        {"Location": f"{path}/{name}", "Cache-Control": "no-store"},
        media_type=_SDP,
    )


async def _end(closing: Awaitable[None]) -> Response:
    try:
        await closing
    except MingjingError as exc:
        raise _refusal(exc) from exc
    return Response(status_code=status.HTTP_200_OK)


def _refusal(error: MingjingError) -> HTTPException:
    for kind, code in _STATUS:
        if isinstance(error, kind):
            return HTTPException(code, str(error))
    return HTTPException(status.HTTP_500_INTERNAL_SERVER_ERROR, str(error))
