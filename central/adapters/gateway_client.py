"""The gateways over HTTPS: central asks for a user, with a grant that it signs itself.

Browsers never hold a grant. Files pass through as streams, a chunk at a time.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import ValidationError

from central.domain.refusals import Refusal, Refused, Text
from central.ports import FileBytes, Permit
from contracts.clock import Clock
from contracts.errors import Unavailable
from contracts.ids import parse_slug
from contracts.signing import Signer
from contracts.timestamps import NS
from contracts.tokens import Grant, issue
from contracts.wire.footage import Timeline

_GRANT_S = 60
_TIMEOUT = httpx.Timeout(10.0, connect=3.0)
_LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=40)
_MOST_ANSWER_BYTES = 16 * 1024 * 1024
_ASKED = ("range", "if-range", "if-none-match", "if-match")
_ANSWERED = (
    "content-type",
    "content-length",
    "content-range",
    "accept-ranges",
    "etag",
    "last-modified",
)
_PASSED_ON = frozenset({403, 404, 409, 412, 416, 422})


class HttpGateways:
    """See `central.ports.Gateways`. Close it at the end."""

    def __init__(
        self,
        addresses: Mapping[str, str],
        *,
        signer: Signer,
        clock: Clock,
        tls: ssl.SSLContext | None,
    ) -> None:
        """`addresses` by site, e.g. ``https://127.0.0.1:8460``; `tls` trusts the site's CA."""
        self._addresses = dict(addresses)
        self._signer = signer
        self._clock = clock
        self._http = httpx.AsyncClient(
            verify=tls if tls is not None else True,
            timeout=_TIMEOUT,
            limits=_LIMITS,
            trust_env=False,
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def timeline(self, permit: Permit, stream: str, span: tuple[int, int]) -> Timeline:
        """What is recorded of a stream within [from, to)."""
        answer = await self._ask(
            permit, "GET", f"/v1/timeline/{stream}", params={"from_ns": span[0], "to_ns": span[1]}
        )
        try:
            return Timeline.model_validate_json(answer.content)
        except ValidationError as exc:
            raise Unavailable("网关的应答看不懂（时间轴）") from exc

    async def playlist(self, permit: Permit, stream: str, span: tuple[int, int]) -> bytes:
        """HLS playlist of a stream within [from, to); addresses in it are relative."""
        answer = await self._ask(
            permit,
            "GET",
            f"/v1/hls/{stream}/index.m3u8",
            params={"from_ns": span[0], "to_ns": span[1]},
        )
        return answer.content

    @asynccontextmanager
    async def file(
        self, permit: Permit, stream: str, name: str, headers: Mapping[str, str]
    ) -> AsyncIterator[FileBytes]:
        """A footage file, or the range of it that the headers ask for, as a stream."""
        path = f"/v1/hls/{stream}/files/{parse_slug(name, field='file')}.mp4"
        asked = {key: headers[key] for key in _ASKED if key in headers}
        request = self._request(
            permit, "GET", path, headers={**asked, "accept-encoding": "identity"}
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as exc:
            raise _away(exc) from exc
        try:
            if response.status_code >= httpx.codes.BAD_REQUEST:
                await response.aread()
                self._check(response)
            yield FileBytes(
                status=response.status_code,
                headers={
                    key: response.headers[key] for key in _ANSWERED if key in response.headers
                },
                body=_chunks(response),
            )
        finally:
            await response.aclose()

    async def watch(self, permit: Permit, stream: str, offer: bytes) -> tuple[bytes, str]:
        """Start a live view: SDP answer and the path at the gateway that ends it."""
        answer = await self._ask(
            permit,
            "POST",
            f"/whep/{stream}",
            content=offer,
            headers={"content-type": "application/sdp"},
        )
        location = answer.headers.get("location", "")
        path = httpx.URL(location).path if location else ""
        if not path.startswith("/whep/"):
            raise Unavailable("网关没有给出实时会话的地址")
        return answer.content, path

    async def unwatch(self, permit: Permit, location: str) -> None:
        """End a live view."""
        await self._ask(permit, "DELETE", location)

    async def _ask(self, permit: Permit, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            response = await self._http.send(self._request(permit, method, path, **more))
        except httpx.HTTPError as exc:
            raise _away(exc) from exc
        self._check(response)
        if len(response.content) > _MOST_ANSWER_BYTES:
            raise Unavailable("网关的应答过大")
        return response

    def _request(self, permit: Permit, method: str, path: str, **more: Any) -> httpx.Request:
        address = self._addresses.get(permit.site)
        if address is None:
            raise Unavailable(f"没有配置站点 {permit.site} 的网关地址（central.toml [[gateways]]）")
        headers = {**more.pop("headers", {}), "authorization": f"Bearer {self._grant(permit)}"}
        return self._http.build_request(method, f"{address}{path}", headers=headers, **more)

    def _grant(self, permit: Permit) -> str:
        grant = Grant(
            use=permit.use,
            site=permit.site,
            user=permit.user,
            case=permit.case,
            streams=permit.streams,
            not_before_ns=permit.not_before_ns,
            not_after_ns=permit.not_after_ns,
            expires_s=self._clock.now() // NS + _GRANT_S,
        )
        return issue(grant, self._signer)

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status < httpx.codes.BAD_REQUEST:
            return
        reason = response.text[:300]
        if status in _PASSED_ON:
            raise Refused(
                Refusal(
                    status=status,
                    code=f"gateway_{status}",
                    text=Text(zh=f"网关：{reason}", en=f"Gateway: {reason}"),
                )
            )
        raise Unavailable(f"网关应答 {status}：{reason}")


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes. A gateway that breaks off ends ours early too, never silently."""
    async for chunk in response.aiter_raw():
        yield chunk


def _away(exc: httpx.HTTPError) -> Unavailable:
    return Unavailable(f"网关没有应答：{str(exc) or type(exc).__name__}")
