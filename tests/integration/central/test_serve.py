"""``python -m central serve`` as the demonstration starts it."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import httpx
import pytest

from central.__main__ import main
from contracts.clock import SystemClock
from mingjing.ca import SiteCa
from mingjing.engines.ports import ephemeral
from mingjing.toml_text import toml_text
from tests.integration.central.conftest import write_settings
from tests.waiting import until

pytestmark = pytest.mark.integration


async def test_the_first_start_tells_one_time_passwords(database_url: str, tmp_path: Path) -> None:
    """One JSON line each on stdout, which sign in; the second start tells none."""
    now = SystemClock().now()
    ca = SiteCa.open(tmp_path / "ca", site="demo", now=now)
    ca.program(tmp_path / "central", "central", now=now)
    port = ephemeral()
    web = tmp_path / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<title>entry</title>")
    (web / "assets" / "a-1.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    write_settings(
        tmp_path,
        database_url,
        listen=f"127.0.0.1:{port}",
        ca="ca/ca.pem",
        certificate="central/cert.pem",
        key="central/key.pem",
    )
    told: list[dict[str, str]] = []
    for start in (1, 2):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "central", "serve", "--config", str(tmp_path / "central.toml")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as browser:
                await until(lambda browser=browser: _is_ready(browser), 30)
                if start == 1:
                    await _look_at_pages(browser)
        finally:
            process.terminate()
            stdout, stderr = await process.communicate()
        assert process.returncode in {0, -15}, stderr.decode()
        told = [json.loads(line) for line in stdout.splitlines()]
        if start == 1:
            assert {line["event"] for line in told} == {"one_time_password"}
            assert len({line["username"] for line in told}) == 6
            assert all(line["password"] not in stderr.decode() for line in told)
    assert told == []


async def _look_at_pages(browser: httpx.AsyncClient) -> None:
    """Entry page for every address of the application, files by name, nothing outside."""
    for path in ("/", "/cases/SP1?step=1", "/counter"):
        answer = await browser.get(path)
        assert (answer.status_code, answer.text) == (200, "<title>entry</title>")
        assert answer.headers["cache-control"] == "no-cache"
    asset = await browser.get("/assets/a-1.js")
    assert "immutable" in asset.headers["cache-control"]
    assert (await browser.get("/assets/none.js")).status_code == 404
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt"):
        assert "secret" not in (await browser.get(path)).text


async def _is_ready(browser: httpx.AsyncClient) -> bool:
    try:
        return (await browser.get("/healthz")).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"listen": "nowhere"}, "listen"),
        ({"database": "mysql://x"}, "database"),
        ({"ca": "none.pem"}, "ca"),
        ({"surprise": 1}, "surprise"),
        ({"site_file": "none.toml"}, "site_file"),
        ({"broker": {"url": "http://x"}}, "broker.url"),
        ({"gateways": [{"site": "No Slug", "url": "https://x"}]}, "gateways[0].site"),
    ],
)
def test_wrong_settings_end_with_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], field: str
) -> None:
    """One line on stderr, exit code 2."""
    now = SystemClock().now()
    SiteCa.open(tmp_path / "ca", site="demo", now=now).program(tmp_path / "c", "central", now=now)
    (tmp_path / "site.toml").write_text('id = "demo"\nname = "x"\n')
    settings = {
        "listen": "127.0.0.1:1",
        "database": "postgresql+asyncpg://x@/x",
        "certificate": "c/cert.pem",
        "key": "c/key.pem",
        "ca": "ca/ca.pem",
        "site_file": "site.toml",
        **change,
    }
    (tmp_path / "central.toml").write_text(toml_text(settings))
    assert main(["serve", "--config", str(tmp_path / "central.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"central: {field}:")


def test_a_port_in_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What, where, what to do; and the exit status says that it failed."""
    now = SystemClock().now()
    SiteCa.open(tmp_path / "ca", site="demo", now=now).program(tmp_path / "c", "central", now=now)
    (tmp_path / "site.toml").write_text('id = "demo"\nname = "x"\n')
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = {
            "listen": f"127.0.0.1:{port}",
            "database": "postgresql+asyncpg://x@/x",
            "certificate": "c/cert.pem",
            "key": "c/key.pem",
            "ca": "ca/ca.pem",
            "site_file": "site.toml",
        }
        (tmp_path / "central.toml").write_text(toml_text(settings))
        assert main(["serve", "--config", str(tmp_path / "central.toml")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"listen = 127.0.0.1:{port}" in line
    assert "stop what holds the port" in line
