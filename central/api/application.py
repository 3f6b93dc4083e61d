"""The HTTP application: routes, errors, the description of the interface."""

from fastapi import FastAPI
from fastapi.routing import APIRoute

from central.api import (
    problems,
    routes_access,
    routes_cases,
    routes_live,
    routes_replay,
    routes_site,
)
from central.api.schemas import Message, Problem

TITLE = "Mingjing central"


def build_api() -> FastAPI:
    """The application with its routes; the composition root adds parts, lifespan and pages."""
    app = FastAPI(
        title=TITLE,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        responses=problems.PROBLEM_RESPONSES,
    )
    for module in (routes_access, routes_site, routes_live, routes_cases, routes_replay):
        app.include_router(module.router)
    app.webhooks.add_api_route(
        "live_events", _live_event, methods=["POST"], responses={422: {"model": Problem}}
    )
    problems.install(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _live_event(body: Message) -> None:
    """What the WebSocket ``/api/live/events`` sends; described here so that types are generated."""
