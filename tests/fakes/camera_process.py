"""A camera in a process of its own: our simulator, or Debian's gst-rtsp-server as a stranger's."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
GST_CAMERA = ROOT / "tests" / "integration" / "peers" / "gst_camera.py"

_START_S = 60


@asynccontextmanager
async def simulated_camera(*arguments: str) -> AsyncIterator[str]:
    """Run the simulator; gives its URL."""
    argv = [sys.executable, "-m", "mingjing.simulators.camera", *arguments]
    async with _running(argv) as ready:
        yield str(ready["url"])


@asynccontextmanager
async def gst_camera(*arguments: str) -> AsyncIterator[str]:
    """Run gst-rtsp-server; gives its URL."""
    async with _running([SYSTEM_PYTHON, str(GST_CAMERA), *arguments]) as ready:
        yield str(ready["url"])


def why_no_gst() -> str:
    """Say why gst-rtsp-server cannot be used here, empty when it can."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not Path(SYSTEM_PYTHON).exists():
        return f"{SYSTEM_PYTHON} does not exist"
    done = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


@asynccontextmanager
async def _running(argv: list[str]) -> AsyncIterator[dict[str, object]]:
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            ready = json.loads(await process.stdout.readline())
        assert ready["event"] == "ready", ready
        yield ready
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
