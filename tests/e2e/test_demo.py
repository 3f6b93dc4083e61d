"""The command a newcomer types, as they type it: everything real, in processes of its own."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.fakes.camera_process import gst_camera, why_no_gst
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(400)]


async def start(data: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mingjing",
        "demo",
        "--data",
        str(data),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )


def left_over(data: Path) -> list[str]:
    """Living processes that were started for this data folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(data) in w for w in words):
            found.append(" ".join(words)[:120])
    return found


def secrets_in_logs(data: Path) -> list[str]:
    """Log files that show a password or a key of this site."""
    secrets = [*json.loads((data / "secrets" / "logins.json").read_text()).values()]
    secrets += [path.read_text().strip() for path in (data / "secrets").glob("*.password")]
    return [
        str(log)
        for log in (data / "log").iterdir()
        if any(secret in log.read_text(errors="replace") for secret in secrets)
    ]


def killed(data: Path, output: bytes) -> list[str]:
    """Lines that tell of a process that did not stop when asked."""
    lines = output.decode(errors="replace").splitlines()
    for log in (data / "log").iterdir():
        lines += log.read_text(errors="replace").splitlines()
    return [line for line in lines if "child_killed" in line or " killed " in f" {line} "]


async def test_demo_once_then_again_until_killed(tmp_path: Path) -> None:
    """The step's footage is bound, fetched and decoded; nothing outlives either run."""
    data = tmp_path / "var"
    once = await start(data, "--once", "--json")
    output, progress = await once.communicate()
    assert once.returncode == 0, progress.decode()[-3000:]
    measured = json.loads(output)
    assert measured["covered_permille"] > 900, measured
    assert measured["frames_decoded"] > 0
    assert measured["bytes_fetched"] > 10_000
    assert abs(measured["clock_error_ms"]) <= 500
    assert f"/cases/{measured['case']}?step={measured['step']}&t=" in measured["link"]
    assert left_over(data) == []
    assert secrets_in_logs(data) == []
    assert killed(data, output + progress) == []

    again = await start(data)
    assert again.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(200):
        while line := await again.stdout.readline():
            lines.append(line.decode())
            if "Ctrl-C stops everything" in lines[-1]:
                break
    text = "".join(lines)
    assert "Ctrl-C stops everything" in text, (await again.stderr.read()).decode()[-3000:]  # type: ignore[union-attr]
    assert "/cases/" in text
    for username in ("liu-yang", "zhou-zheng", "chen-gang", "admin"):
        assert username in text
    assert len(left_over(data)) > 5
    again.kill()
    await again.wait()
    await until(lambda: not left_over(data), 40)


async def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    """Ctrl-C in the middle of starting ends all that was started, in order."""
    data = tmp_path / "var"
    demo = await start(data)
    await until((data / "log" / "gateway.log").exists, 120)
    demo.send_signal(signal.SIGINT)
    output, progress = await demo.communicate()
    assert killed(data, output + progress) == []
    assert left_over(data) == []
    assert not (data / "postgres" / "data" / "postmaster.pid").exists()


async def test_second_demo_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """One line says who holds the folder, and the first goes on undisturbed."""
    data = tmp_path / "var"
    first = await start(data)
    await until((data / "log" / "nats.log").exists, 120)
    second = await start(data)
    _, errors = await second.communicate()
    assert second.returncode == 1
    assert f"pid {first.pid}" in errors.decode()
    assert first.returncode is None
    first.send_signal(signal.SIGTERM)
    await first.communicate()
    assert left_over(data) == []


async def test_demo_with_a_strangers_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAMERA=rtsp://user:password@… works with an RTSP server that is not ours."""
    if missing := why_no_gst():
        pytest.skip(missing)
    password = "ge:heim/1"
    data = tmp_path / "var"
    async with gst_camera("--username", "viewer", "--password", password) as url:
        secret_url = url.replace("rtsp://", f"rtsp://viewer:{quote(password, safe='')}@")
        monkeypatch.setenv("CAMERA", secret_url)
        demo = await start(data, "--once", "--json")
        output, progress = await demo.communicate()
    assert demo.returncode == 0, progress.decode()[-3000:]
    measured = json.loads(output)
    assert (measured["camera"], measured["picture"]) == ("own", "640x360")
    assert measured["covered_permille"] > 900, measured
    assert measured["clock_error_ms"] is None
    assert secrets_in_logs(data) == []
    assert password not in progress.decode() + output.decode()
    assert left_over(data) == []
