"""Every route is closed to strangers and to the wrong roles."""

import httpx
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import BaseRoute, Mount

from central.api.application import build_api
from central.api.gate import OPEN_PATHS
from central.domain.permissions import RIGHTS, Role, may
from tests.integration.central.case_run import open_case, run_step
from tests.integration.central.conftest import RunningCentral

pytestmark = pytest.mark.integration

ROLES: dict[str, Role] = {
    "liu-yang": "clerk",
    "zhou-zheng": "inspector",
    "chen-gang": "unit_head",
    "guard": "operator",
    "admin": "administrator",
}
NEW_PASSWORD = "correct horse battery"


def address(route: APIRoute | APIWebSocketRoute) -> str:
    """The route's path with something in each place."""
    path = route.path
    for name, value in {
        "no": "SP20261125-0001",
        "seq": "1",
        "code": "layout",
        "clock": "statutory",
        "retrieval": "x",
        "stream": "cam-07-front.main",
        "file": "1",
        "session": "x",
    }.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path
    return path


def routes() -> list[BaseRoute]:
    """Every route, those of included routers too."""
    found: list[BaseRoute] = []
    waiting: list[BaseRoute] = list(build_api().routes)
    while waiting:
        route = waiting.pop()
        # FastAPI keeps included routers whole in newer versions and copied their routes before.
        included = getattr(route, "original_router", route)
        below = getattr(included, "routes", None)
        if below and not isinstance(route, APIRoute | APIWebSocketRoute):
            waiting += below
        else:
            found.append(route)
    return found


HTTP_ROUTES = [r for r in routes() if isinstance(r, APIRoute) and r.path.startswith("/api")]


def right_of(route: APIRoute) -> str | None:
    """The right that the route asks for."""
    for dependency in route.dependant.dependencies:
        action = getattr(dependency.call, "action", None)
        if action is not None:
            return str(action)
    return None


def test_the_walk_sees_the_whole_interface() -> None:
    """All described operations are walked, and nothing but the health check lies outside."""
    described = {
        (path, method.upper())
        for path, operations in build_api().openapi()["paths"].items()
        for method in operations
    }
    walked = {(r.path, method) for r in HTTP_ROUTES for method in r.methods}
    assert walked == described
    others = {getattr(r, "path", "") for r in routes()} - {r.path for r in HTTP_ROUTES}
    assert others == {"/healthz", "/api/live/events"}
    assert not any(isinstance(r, Mount) for r in routes())


@pytest.mark.parametrize("route", HTTP_ROUTES, ids=lambda r: f"{min(r.methods)} {r.path}")
def test_every_route_but_the_login_asks_for_a_right(route: APIRoute) -> None:
    """Deny by default: a route without a right would be open to every role."""
    assert (right_of(route) is None) == (route.path in OPEN_PATHS)


async def test_no_route_answers_without_a_login(central: RunningCentral) -> None:
    """401, also for addresses that do not exist, whatever the body."""
    async with central.client() as nobody:
        for route in HTTP_ROUTES:
            if route.path in OPEN_PATHS:
                continue
            for method in route.methods:
                answer = await nobody.request(method, address(route), content=b"{")
                assert answer.status_code == 401, f"{method} {route.path}"
                assert answer.json()["code"] == "login_needed"
        for path in ("/api", "/api/", "/api/nothing", "/api/login/x"):
            assert (await nobody.get(path)).status_code == 401, path


async def test_no_route_answers_the_wrong_role(central: RunningCentral) -> None:
    """403 for each role and each route whose right the role lacks."""
    clients = {name: await central.sign_in(name) for name in ROLES}
    admin = {"old": central.passwords["admin"], "new": NEW_PASSWORD}
    assert (await clients["admin"].post("/api/password", json=admin)).status_code == 204
    walked = 0
    for name, role in ROLES.items():
        for route in HTTP_ROUTES:
            right = right_of(route)
            if right is None or right in RIGHTS[role]:
                continue
            for method in route.methods:
                answer = await _ask(clients[name], method, address(route), right)
                assert answer.status_code == 403, f"{name} {method} {route.path} {answer.text}"
                assert answer.json()["code"] == "denied"
                walked += 1
    assert walked > 40


async def _ask(client: httpx.AsyncClient, method: str, path: str, right: str) -> httpx.Response:
    """A request that is sound but for the right: FastAPI reads a body before it asks."""
    bodies = {
        "cases.open": {"item": "x", "applicant": "x", "place": "x"},
        "retrievals.open": {"reason": "群众投诉核查办件过程", "basis": "complaint"},
    }
    params = {"from_ms": 1, "to_ms": 2}
    if right == "clocks.suspend":
        body: object = {"reason": "检验检测", "notice_no": "1", "revision": 1}
    elif right == "cases.run":
        body = {"values": {}, "revision": 1}
        body = {"place": "x"} if path.endswith("start") else body
        body = {"state": "checked", "revision": 1} if "materials" in path else body
    else:
        body = bodies.get(right)
    return await client.request(method, path, params=params, json=body)


@pytest.mark.parametrize("role", ["administrator", "clerk", "unit_head", "operator", "installer"])
def test_recorded_footage_is_the_inspectors_alone(role: Role) -> None:
    """No other role opens retrievals; the administrator has no footage at all."""
    assert not may(role, "retrievals.open")
    assert may("inspector", "retrievals.open")
    assert not may("administrator", "live.view")


async def test_a_clerk_watches_the_own_counter_only(central: RunningCentral) -> None:
    """The list holds one stream; the other counter's is refused, and the gateway not asked."""
    clerk = await central.sign_in("liu-yang")
    streams = (await clerk.get("/api/live/streams")).json()
    assert [s["stream"] for s in streams] == ["cam-07-front.main"]
    sdp = {"content": b"v=0\r\n", "headers": {"content-type": "application/sdp"}}
    other = await clerk.post("/api/live/cam-08-front.main/whep", **sdp)
    assert other.status_code == 403
    assert central.gateways.asked == []
    own = await clerk.post("/api/live/cam-07-front.main/whep", **sdp)
    assert own.status_code == 201
    assert own.content == b"v=0 answer to v=0"
    permit = central.gateways.asked[0][1]
    assert (permit.use, permit.user, permit.streams) == ("live", "liu-yang", ("cam-07-front.main",))
    inspector = await central.sign_in("zhou-zheng")
    location = own.headers["location"]
    assert (await inspector.delete(location)).status_code == 404
    assert (await clerk.delete(location)).status_code == 204
    assert central.gateways.live == []


async def test_a_change_needs_the_header_that_foreign_pages_cannot_send(
    central: RunningCentral,
) -> None:
    """CSRF: no X-Mingjing, no change, even with a session."""
    clerk = await central.sign_in("liu-yang")
    del clerk.headers["X-Mingjing"]
    answer = await clerk.post("/api/logout")
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")
    assert (await clerk.get("/api/me")).status_code == 200


async def test_the_administrator_changes_the_one_time_password_first(
    central: RunningCentral,
) -> None:
    """Until then only /me, /password and /logout answer; afterwards other sessions have ended."""
    admin, other = await central.sign_in("admin"), await central.sign_in("admin")
    assert (await admin.get("/api/me")).json()["must_change_password"] is True
    refused = await admin.get("/api/devices")
    assert (refused.status_code, refused.json()["code"]) == (403, "password_change_needed")
    short = await admin.post("/api/password", json={"old": "x", "new": "short"})
    assert (short.status_code, short.json()["field"]) == (422, "new")
    body = {"old": central.passwords["admin"], "new": NEW_PASSWORD}
    assert (await admin.post("/api/password", json=body)).status_code == 204
    assert (await admin.get("/api/devices")).status_code == 200
    assert (await other.get("/api/me")).status_code == 401


async def test_passwords_cannot_be_tried_without_end(central: RunningCentral) -> None:
    """After five failures even the right password waits; a quarter of an hour later it fits."""
    async with central.client() as somebody:
        wrong = {"username": "liu-yang", "password": "wrong"}
        right = {"username": "liu-yang", "password": central.passwords["liu-yang"]}
        for _ in range(5):
            assert (await somebody.post("/api/login", json=wrong)).status_code == 401
        locked = await somebody.post("/api/login", json=right)
        assert (locked.status_code, locked.headers["retry-after"]) == (429, "900")
        central.clock.advance(15 * 60 + 1)
        assert (await somebody.post("/api/login", json=right)).status_code == 200


async def test_a_session_ends_after_eight_idle_hours(central: RunningCentral) -> None:
    """Use keeps it alive; eight hours without do not."""
    clerk = await central.sign_in("liu-yang")
    for _ in range(3):
        central.clock.advance(7 * 3600)
        assert (await clerk.get("/api/me")).status_code == 200
    central.clock.advance(8 * 3600 + 61)
    assert (await clerk.get("/api/me")).status_code == 401


async def test_every_answer_carries_the_security_headers(central: RunningCentral) -> None:
    """Pages, API and refusals alike; the API is never cached."""
    async with central.client() as nobody:
        for path in ("/", "/api/me", "/healthz"):
            answer = await nobody.get(path)
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await nobody.get("/api/me")).headers["cache-control"] == "no-store"


async def test_hostile_text_is_refused_by_field(central: RunningCentral) -> None:
    """Zero bytes, unknown fields and endless bodies end at the door."""
    clerk = await central.sign_in("liu-yang")
    new = {"item": "food-licence-new", "applicant": "a\0b", "place": "counter-07"}
    answer = await clerk.post("/api/cases", json=new)
    assert (answer.status_code, answer.json()["field"]) == (422, "applicant")
    answer = await clerk.post("/api/cases", json={**new, "applicant": "a", "rogue": 1})
    assert (answer.status_code, answer.json()["field"]) == (422, "rogue")
    answer = await clerk.post("/api/cases", content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413
    assert (await clerk.get("/api/cases", params={"q": "%_\\'\""})).json()["total"] == 0
    assert (await clerk.get("/api/cases", params={"q": "a\0"})).status_code == 422


async def test_a_foreign_site_is_invisible(central: RunningCentral) -> None:
    """A case that does not exist and one of another site look alike: 404."""
    clerk = await central.sign_in("liu-yang")
    case = await run_step(clerk, await open_case(clerk), 1)
    assert (await clerk.get(f"/api/cases/{case['no']}")).status_code == 200
    assert (await clerk.get("/api/cases/SP20261125-0099")).status_code == 404
