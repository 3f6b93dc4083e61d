"""The gate in front of every route: deny by default.

Below ``/api`` nothing is reached without a session but the login itself; what changes something
needs the header ``X-Mingjing``, which a foreign page cannot send; bodies have a bound. Every answer
carries the security headers.
"""

from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from central.api.dependencies import COOKIE, CSRF_HEADER, context_of
from central.api.problems import from_error, problem
from central.domain.refusals import Text
from central.domain.register import User
from central.handlers import access
from contracts.errors import MingjingError

OPEN_PATHS = frozenset({"/api/login"})
MOST_BODY_BYTES = 1024 * 1024
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_WS_POLICY_VIOLATION = 1008

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), payment=(), usb=()",
}

Authenticate = Callable[[str], Awaitable[User | None]]


class Gate:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, *, api: FastAPI) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        send = _with_headers(scope, send)
        # Middleware runs before the application puts itself here.
        scope["app"] = self._api
        path = scope["path"]
        if path != "/api" and not path.startswith("/api/"):
            await self._app(scope, receive, send)
            return
        answer = await self._refusal(scope, path)
        if answer is None:
            await self._app(scope, _bounded(scope, receive), send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await _refuse_socket(answer, scope, receive, send)

    async def _refusal(self, scope: Scope, path: str) -> Response | None:
        headers = Headers(scope=scope)
        if path not in OPEN_PATHS:
            try:
                user = await access.authenticate(
                    context_of(HTTPConnection(scope)), token_of(headers)
                )
            except MingjingError as exc:
                return from_error(exc)
            if user is None:
                return problem(
                    401, code="login_needed", text=Text(zh="请先登录", en="Sign in first")
                )
            scope.setdefault("state", {})["user"] = user
        if scope["type"] == "websocket":
            return _foreign_origin(headers)
        if scope["method"] not in _SAFE_METHODS and CSRF_HEADER not in headers:
            return problem(
                403,
                code="csrf",
                text=Text(zh="缺少请求头 X-Mingjing", en="The header X-Mingjing is missing"),
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            return _too_large()
        return None


def token_of(headers: Headers) -> str:
    """The session's token from the cookie; empty when there is none."""
    cookies = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _foreign_origin(headers: Headers) -> Response | None:
    """A WebSocket has no custom header; its origin must be ours."""
    origin = headers.get("origin")
    if origin is None or urlsplit(origin).netloc == headers.get("host", ""):
        return None
    return problem(
        403, code="csrf", text=Text(zh="来源不是本系统", en="The origin is not this system")
    )


def _too_large() -> Response:
    return problem(413, code="too_large", text=Text(zh="内容过大", en="The body is too large"))


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Cut off a body that grows beyond the bound although its announced length did not."""
    if scope["type"] != "http":
        return receive
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BODY_BYTES:
            return {"type": "http.disconnect"}
        return message

    return bounded


def _with_headers(scope: Scope, send: Send) -> Send:
    private = scope["path"].startswith("/api")

    async def sending(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if private:
                headers.setdefault("Cache-Control", "no-store")
            message["headers"] = headers.raw
        await send(message)

    return sending


async def _refuse_socket(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    if message["type"] != "websocket.connect":
        return
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _WS_POLICY_VIOLATION})
        return
    start = {"type": "websocket.http.response.start", "status": answer.status_code}
    await send({**start, "headers": answer.raw_headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
