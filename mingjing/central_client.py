"""Central's HTTP API as the demonstration uses it: signed in as one user, typed answers."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from central.api.schemas import (
    Case,
    Device,
    Item,
    Me,
    NewCase,
    Problem,
    Retrieval,
    RetrievalRequest,
)
from contracts.errors import Conflict, Denied, InvalidInput, Unavailable
from mingjing.site import RunningSite

_TIMEOUT_S = 30.0

T = TypeVar("T")


class CentralClient:
    """One user's session."""

    def __init__(self, http: httpx.AsyncClient, me: Me) -> None:
        self.http = http
        self.me = me

    async def get(self, path: str, answer: type[T], **query: Any) -> T:
        """GET a JSON answer.

        Raises:
            InvalidInput, Denied, Conflict, Unavailable: with central's own words.
        """
        response = await _send(self.http, "GET", path, params=query)
        return _read(response, answer)

    async def call(self, method: str, path: str, answer: type[T], **body: Any) -> T:
        """Change something; `body` becomes the JSON object."""
        response = await _send(self.http, method, path, json=body)
        return _read(response, answer)

    async def items(self) -> list[Item]:
        """Items that a case can be opened for."""
        return await self.get("/api/items", list[Item])

    async def devices(self) -> list[Device]:
        """Devices with their health."""
        return await self.get("/api/devices", list[Device])

    async def open_case(self, case: NewCase) -> Case:
        """Open a case."""
        return await self.call("POST", "/api/cases", Case, **case.model_dump())

    async def case(self, no: str) -> Case:
        """A case as it stands."""
        return await self.get(f"/api/cases/{no}", Case)

    async def retrieve(self, no: str, request: RetrievalRequest) -> Retrieval:
        """Register why footage is looked at."""
        return await self.call(
            "POST", f"/api/cases/{no}/retrievals", Retrieval, **request.model_dump()
        )


@asynccontextmanager
async def signed_in(site: RunningSite, username: str) -> AsyncIterator[CentralClient]:
    """Sign in; where central asks for a new password, a random one is set and kept.

    Raises:
        Denied: the password is not known here (any more).
    """
    password = site.passwords.get(username)
    if password is None:
        raise Denied(_unknown(username))
    async with httpx.AsyncClient(
        base_url=site.address,
        timeout=_TIMEOUT_S,
        trust_env=False,
        headers={"X-Mingjing": "1"},
    ) as http:
        try:
            me = await _login(http, username, password)
        except Denied as exc:
            raise Denied(_unknown(username)) from exc
        if me.must_change_password:
            fresh = secrets.token_urlsafe(12)
            await _send(http, "POST", "/api/password", json={"old": password, "new": fresh})
            site.remember(username, fresh)
            me = await _login(http, username, fresh)
        yield CentralClient(http, me)


async def _login(http: httpx.AsyncClient, username: str, password: str) -> Me:
    body = {"username": username, "password": password}
    return _read(await _send(http, "POST", "/api/login", json=body), Me)


async def _send(http: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    try:
        response = await http.request(method, path, **more)
    except httpx.HTTPError as exc:
        raise Unavailable(f"central does not answer {method} {path}: {exc!r}") from exc
    if response.is_success:
        return response
    text = f"{method} {path} → {response.status_code}: {_words(response)}"
    match response.status_code:
        case 401 | 403:
            raise Denied(text)
        case 409:
            raise Conflict(text)
        case status if status < 500:  # noqa: PLR2004 - HTTP's own border between blames
            raise InvalidInput(text)
    raise Unavailable(text)


def _words(response: httpx.Response) -> str:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return response.text[:500]
    return f"{problem.message} / {problem.message_en} {problem.action}".strip()


def _read(response: httpx.Response, answer: type[T]) -> T:
    try:
        return TypeAdapter(answer).validate_json(response.content)
    except ValidationError as exc:
        raise Unavailable(f"{response.request.url.path}: not the answer we expect: {exc}") from exc


def _unknown(username: str) -> str:
    return (
        f"{username} 的密码已不是这里所知的那个; 用 --data 换一个新目录, 或在网页上办件 / "
        f"the password of {username} is not known here any more; "
        f"use a new folder with --data, or run a case in the pages yourself"
    )
