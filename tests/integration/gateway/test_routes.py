"""Every route of the gateway is closed to whoever has no token, or another one's."""

from collections.abc import AsyncIterator, Iterable, Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from contracts.clock import SystemClock
from contracts.signing import PemSigner
from contracts.timestamps import NS
from contracts.tokens import DeviceProof, Grant, GrantUse, issue
from gateway.app import Gateway
from gateway.config import GatewayConfig
from tests.integration.gateway.conftest import RealSite
from tests.integration.gateway.gateway_program import GatewayProgram

pytestmark = pytest.mark.integration

OPEN = {"/healthz"}
STREAM = "cam-07-front.main"
EXAMPLES = {"stream": STREAM, "session": "s1", "file_id": "1"}
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


@pytest.fixture
async def gateway(real_site: RealSite) -> AsyncIterator[Gateway]:
    program = GatewayProgram(real_site)
    gateway = Gateway(GatewayConfig.load(program.config), clock=SystemClock())
    yield gateway
    await gateway.store.close()


def plain_routes(found: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """Every route, also of included routers; anything of another kind fails the test."""
    for route in found:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from plain_routes(included.routes)
        else:
            assert isinstance(route, APIRoute), f"{route}: say how it is closed"
            yield route


def routes(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """(method, address) of every route, with examples in the place of parameters."""
    for route in plain_routes(gateway.web().routes):
        if route.path not in OPEN:
            for method in route.methods:
                yield method, route.path.format(**EXAMPLES) + "?from_ns=1&to_ns=2"


def client(gateway: Gateway) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(gateway.web())
    return httpx.AsyncClient(transport=transport, base_url="https://gateway")


def grant(real: RealSite, use: GrantUse, *, signer: str = "central", **fields: object) -> str:
    token = Grant.model_validate(
        {
            "use": use,
            "site": "demo",
            "user": "zhou-zheng",
            "streams": (STREAM,),
            "not_before_ns": 0,
            "not_after_ns": 1 << 62,
            "expires_s": SystemClock().now() // NS + 60,
            **fields,
        }
    )
    return issue(token, PemSigner(real.program(signer).key.read_bytes()))


def proof(site: RealSite, device: str) -> str:
    identity = site.device(device)
    token = DeviceProof(
        site="demo",
        device=device,
        certificate=identity.certificate.read_text(),
        expires_s=SystemClock().now() // NS + 60,
    )
    return issue(token, site.signer(device))


async def statuses(gateway: Gateway, token: str | None) -> dict[str, int]:
    headers = {"Content-Type": "application/sdp"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    found = {}
    async with client(gateway) as http:
        for method, address in routes(gateway):
            content = SDP if method == "POST" else None
            answer = await http.request(method, address, headers=headers, content=content)
            found[f"{method} {address}"] = answer.status_code
    return found


async def test_no_token_no_answer(gateway: Gateway):
    """Deny by default: a new route without a check fails this test."""
    found = await statuses(gateway, None)
    assert len(found) >= 9
    assert set(found.values()) == {401}


@pytest.mark.parametrize("token", ["", "nonsense", "a.b", "e30.e30"])
async def test_nonsense_is_no_token(gateway: Gateway, token: str):
    """What is not signed opens nothing."""
    assert set((await statuses(gateway, token)).values()) == {401}


async def test_a_token_of_another_signer_is_none(gateway: Gateway, real_site: RealSite):
    """The gateway's own key, though from the same CA, does not sign grants."""
    token = grant(real_site, "replay", signer="gateway")
    assert set((await statuses(gateway, token)).values()) == {401}


async def test_an_expired_or_foreign_grant_opens_nothing(gateway: Gateway, real_site: RealSite):
    """Yesterday's grant, and another site's."""
    for use in ("replay", "live", "status"):
        old = grant(real_site, use, expires_s=1)
        assert set((await statuses(gateway, old)).values()) == {401}
        foreign = grant(real_site, use, site="elsewhere")
        assert set((await statuses(gateway, foreign)).values()) <= {401, 403}


async def test_a_grant_opens_only_its_use(gateway: Gateway, real_site: RealSite):
    """One for live view reads no footage, one for footage sees nothing live, neither publishes."""
    for use in ("replay", "live", "status"):
        for route, status in (await statuses(gateway, grant(real_site, use))).items():
            mine = (
                (use == "live" and "/whep/" in route)
                or (use == "replay" and ("/v1/hls/" in route or "/v1/timeline/" in route))
                or (use == "status" and "/v1/status" in route)
            )
            assert (status not in {401, 403}) == mine, (use, route, status)


async def test_a_grant_opens_only_its_streams(gateway: Gateway, real_site: RealSite):
    """Another camera's footage stays closed."""
    for use in ("replay", "live"):
        token = grant(real_site, use, streams=("cam-08-front.main",))
        found = await statuses(gateway, token)
        assert set(found.values()) <= {401, 403}


async def test_a_device_publishes_only_its_own_registered_streams(
    gateway: Gateway, real_site: RealSite
):
    """Nothing is registered yet, so even the right device is refused; the other one always."""
    for device in ("cam-07-front", "zk-07"):
        found = await statuses(gateway, proof(real_site, device))
        assert set(found.values()) <= {401, 403}
        assert found[f"POST /whip/{STREAM}?from_ns=1&to_ns=2"] == 403


async def test_health_is_for_everybody_and_says_nothing(gateway: Gateway):
    """No names, no versions."""
    async with client(gateway) as http:
        answer = await http.get("/healthz")
        assert answer.json() == {"status": "ok"}
        for path in ("/docs", "/openapi.json", "/redoc", "/"):
            assert (await http.get(path)).status_code == 404
