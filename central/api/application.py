"""The HTTP application: routes, errors, the description of the interface."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from central.api import (
    problems,
    routes_access,
    routes_cases,
    routes_live,
    routes_replay,
    routes_site,
)
from central.api.gate import Gate
from central.api.schemas import Message, Problem

TITLE = "Mingjing central"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Readiness = Callable[[], dict[str, str]]
"""Why each part is not well; empty text when it is."""


def build_api(lifespan: Lifespan | None = None) -> FastAPI:
    """The application with its routes.

    Before it serves, the composition root sets ``state.context`` (`Context`), ``state.changes``
    (`ChangeFeed`) and ``state.readiness`` (`Readiness`).
    """
    app = FastAPI(
        title=TITLE,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        responses=problems.PROBLEM_RESPONSES,
    )
    for module in (routes_access, routes_site, routes_live, routes_cases, routes_replay):
        app.include_router(module.router)
    app.add_api_route("/healthz", healthz, methods=["GET"], include_in_schema=False)
    app.webhooks.add_api_route(
        "live_events", _live_event, methods=["POST"], responses={422: {"model": Problem}}
    )
    app.add_middleware(Gate, api=app)
    problems.install(app)
    return app


async def healthz(request: Request) -> Response:
    """Whether central can work; 503 with the reason when the database is not there.

    The broker may be away: facts then wait at the site and orders in the outbox.
    """
    readiness: Readiness = request.app.state.readiness
    reasons = readiness()
    ready = not reasons.get("database")
    return JSONResponse({"ready": ready, "parts": reasons}, 200 if ready else 503)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _live_event(body: Message) -> None:
    """What the WebSocket ``/api/live/events`` sends; described here so that types are generated."""
