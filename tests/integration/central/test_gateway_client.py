"""Central and a gateway's real doorkeeper over HTTPS: grants, streams, refusals."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from central.adapters.gateway_client import HttpGateways
from central.domain.refusals import Refused
from central.ports import Permit
from contracts.clock import SystemClock
from contracts.errors import Unavailable
from contracts.signing import PemSigner, load_certificate
from contracts.tokens import Grant
from contracts.wire.footage import Timeline
from gateway.api.auth import GrantChecker, require_stream
from mingjing.ca import SiteCa
from tests.waiting import until

pytestmark = pytest.mark.integration

STREAM = "cam-07-front.main"
PERMIT = Permit(
    use="replay",
    site="demo",
    user="zhou-zheng",
    case="SP1",
    streams=(STREAM,),
    not_before_ns=100,
    not_after_ns=200,
)
CHUNK = b"x" * 65536
CHUNKS = 256


class Gateway:
    """A gateway whose doorkeeper is the real one; its footage is made up."""

    def __init__(self, checker: GrantChecker) -> None:
        self.app = FastAPI()
        self.chunks_sent = 0
        self.ended: list[str] = []
        replay = Annotated[Grant, Depends(checker.require("replay"))]
        live = Annotated[Grant, Depends(checker.require("live"))]

        @self.app.get("/v1/timeline/{stream}")
        async def timeline(grant: replay, stream: str, from_ns: int, to_ns: int) -> Timeline:
            require_stream(grant, stream, from_ns=from_ns, to_ns=to_ns)
            return Timeline(
                stream=stream, from_ns=from_ns, to_ns=to_ns, recorded=(), gaps=(), codec=None
            )

        @self.app.get("/v1/hls/{stream}/files/{file_id}.mp4")
        async def file(grant: replay, request: Request, stream: str, file_id: int) -> Response:
            require_stream(grant, stream)

            async def body() -> AsyncIterator[bytes]:
                for _ in range(CHUNKS):
                    self.chunks_sent += 1
                    yield CHUNK

            headers = {"etag": '"7"', "x-secret": "1", "content-range": "bytes 0-1/2"}
            status = 206 if request.headers.get("range") == "bytes=0-1" else 200
            return StreamingResponse(body(), status, headers, media_type="video/mp4")

        @self.app.post("/whep/{stream}")
        async def whep(grant: live, request: Request, stream: str) -> Response:
            require_stream(grant, stream)
            offer = await request.body()
            location = f"/whep/{stream}/session-1"
            return Response(b"answer to " + offer, 201, {"Location": location})

        @self.app.delete("/whep/{stream}/{session}")
        async def end(grant: live, stream: str, session: str) -> None:
            require_stream(grant, stream)
            self.ended.append(session)


@asynccontextmanager
async def met(folder: Path) -> AsyncIterator[tuple[Gateway, HttpGateways, str]]:
    """A gateway on a free port, and central's client for it."""
    clock = SystemClock()
    ca = SiteCa.open(folder / "ca", site="demo", now=clock.now())
    central = ca.program(folder / "central", "central", now=clock.now())
    own = ca.program(folder / "gateway", "gateway", now=clock.now())
    certificate = load_certificate(central.certificate.read_bytes())
    gateway = Gateway(GrantChecker(site="demo", central=certificate, clock=clock))
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"https://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(
            gateway.app,
            lifespan="off",
            log_config=None,
            ssl_certfile=str(own.certificate),
            ssl_keyfile=str(own.key),
        )
    )
    client = HttpGateways(
        {"demo": address},
        signer=PemSigner(central.key.read_bytes()),
        clock=clock,
        tls=ssl.create_default_context(cafile=folder / "ca" / "ca.pem"),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve([listener]))
        await until(lambda: server.started)
        try:
            yield gateway, client, address
        finally:
            await client.aclose()
            server.should_exit = True


async def test_a_grant_opens_what_it_names_and_no_more(tmp_path: Path) -> None:
    """Right use, stream and range pass; each other one is refused by the gateway itself."""
    async with met(tmp_path) as (_, client, _address):
        found = await client.timeline(PERMIT, STREAM, (100, 200))
        assert (found.from_ns, found.to_ns) == (100, 200)
        for permit, span in (
            (PERMIT, (99, 200)),
            (PERMIT, (100, 201)),
            (replace(PERMIT, streams=("cam-08-front.main",)), (100, 200)),
            (replace(PERMIT, use="live"), (100, 200)),
        ):
            with pytest.raises(Refused) as refused:
                await client.timeline(permit, STREAM, span)
            assert refused.value.status == 403


async def test_files_pass_through_as_streams(tmp_path: Path) -> None:
    """The first bytes are here before the last are sent; only known headers pass."""
    async with met(tmp_path) as (gateway, client, _address):
        async with client.file(PERMIT, STREAM, "7", {"range": "bytes=0-1", "cookie": "c"}) as part:
            assert part.status == 206
            assert part.headers["content-range"] == "bytes 0-1/2"
            assert part.headers["etag"] == '"7"'
            assert "x-secret" not in part.headers
            first = await anext(part.body)
            assert first == CHUNK[: len(first)]
            assert gateway.chunks_sent < CHUNKS
        whole = 0
        async with client.file(PERMIT, STREAM, "7", {}) as part:
            async for chunk in part.body:
                whole += len(chunk)
        assert whole == CHUNKS * len(CHUNK)


async def test_live_sessions_begin_and_end(tmp_path: Path) -> None:
    """WHEP: offer in, answer and the path that ends the session out."""
    live = Permit(use="live", site="demo", user="u", streams=(STREAM,))
    async with met(tmp_path) as (gateway, client, _address):
        answer, location = await client.watch(live, STREAM, b"v=0")
        assert answer == b"answer to v=0"
        await client.unwatch(live, location)
        assert gateway.ended == ["session-1"]


async def test_a_gateway_that_is_away_or_not_of_this_site(tmp_path: Path) -> None:
    """Each gives `Unavailable` with what to look at."""
    async with met(tmp_path) as (_, client, address):
        with pytest.raises(Unavailable, match="gateways"):
            await client.timeline(replace(PERMIT, site="other"), STREAM, (100, 200))
        stranger = HttpGateways(
            {"demo": address},
            signer=PemSigner((tmp_path / "gateway" / "key.pem").read_bytes()),
            clock=SystemClock(),
            tls=ssl.create_default_context(),
        )
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.timeline(PERMIT, STREAM, (100, 200))
        await stranger.aclose()
    with pytest.raises(Unavailable, match="网关没有应答"):
        fresh = HttpGateways(
            {"demo": address},
            signer=PemSigner((tmp_path / "central" / "key.pem").read_bytes()),
            clock=SystemClock(),
            tls=None,
        )
        await fresh.timeline(PERMIT, STREAM, (100, 200))
    await fresh.aclose()
