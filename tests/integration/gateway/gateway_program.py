"""The gateway as a program of its own, beside a real broker."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from contracts.clock import SystemClock
from contracts.signing import PemSigner
from contracts.timestamps import NS
from contracts.tokens import Grant, issue
from mingjing.engines.ports import ephemeral
from tests.integration.gateway.conftest import RealSite
from tests.waiting import until

TOML = """
site = "demo"
data = "gateway"
listen = "127.0.0.1:{port}"
certificate = "programs/gateway/cert.pem"
key = "programs/gateway/key.pem"
ca = "ca/ca.pem"
central_certificate = "programs/central/cert.pem"
[broker]
url = "{broker}"
[media]
volumes = ["footage"]
ice_addresses = ["127.0.0.1"]
[detector]
enabled = {detector}
cache = "{cache}"
interval_s = 0.5
"""


class GatewayProgram:
    """`python -m gateway` in a folder; killed and started at will."""

    def __init__(self, site: RealSite, *, cache: Path | None = None) -> None:
        self.site = site
        site.program("gateway")
        site.program("central")
        (site.folder / "footage").mkdir(exist_ok=True)
        self.port = ephemeral()
        self.config = site.folder / "gateway.toml"
        self.config.write_text(
            TOML.format(
                port=self.port,
                broker=site.server.url,
                detector="true" if cache else "false",
                cache=cache or "",
            ),
            encoding="utf-8",
        )
        self.log = site.folder / "gateway.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "--config", str(self.config)),
                stderr=log,
                env={**os.environ},
            )
        await until(self._answers, 30)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return 0
        process.send_signal(number)
        try:
            async with asyncio.timeout(30):
                return await process.wait()
        except TimeoutError:
            process.kill()
            raise

    def client(self, *, grant: Grant | None = None) -> httpx.AsyncClient:
        headers = {}
        if grant is not None:
            signer = PemSigner(self.site.program("central").key.read_bytes())
            headers["Authorization"] = f"Bearer {issue(grant, signer)}"
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}",
            verify=self.site.tls(self.site.program("central")),
            headers=headers,
        )

    async def status(self) -> dict[str, Any]:
        grant = Grant(
            use="status",
            site="demo",
            user="central",
            streams=(),
            expires_s=SystemClock().now() // NS + 60,
        )
        async with self.client(grant=grant) as client:
            answer = await client.get("/v1/status")
            report: dict[str, Any] = answer.raise_for_status().json()
            return report

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of the log with this event."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("event") == name]

    async def _answers(self) -> bool:
        try:
            async with self.client() as client:
                return (await client.get("/healthz")).json() == {"status": "ok"}
        except httpx.TransportError:
            return False


@asynccontextmanager
async def running(program: GatewayProgram) -> AsyncIterator[GatewayProgram]:
    try:
        await program.start()
        yield program
    finally:
        await program.stop()
