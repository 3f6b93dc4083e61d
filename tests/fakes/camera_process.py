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
_CHECK_GST = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst
Gst.init(None)
packages = {"x264enc": "gstreamer1.0-plugins-ugly", "rtph264pay": "gstreamer1.0-plugins-good"}
missing = [f"{e} (Debian: {p})" for e, p in packages.items() if not Gst.ElementFactory.find(e)]
if missing:
    raise SystemExit("GStreamer lacks " + ", ".join(missing))
"""


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
    if not Path(SYSTEM_PYTHON).exists():
        return f"{SYSTEM_PYTHON} does not exist"
    argv = [SYSTEM_PYTHON, "-c", _CHECK_GST]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    told = done.stderr.strip().splitlines()
    return told[-1] if told else f"the check for gst-rtsp-server ended with {done.returncode}"


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
