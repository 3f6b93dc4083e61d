"""Faults of devices as a person meets them: on the device page of a whole running site."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from central.api.schemas import Device
from mingjing import provision
from mingjing.central_client import CentralClient, signed_in
from mingjing.engines.ports import ephemeral
from mingjing.site import RunOptions, running_site
from tests.fakes.camera_process import simulated_camera
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(180)]

SMALL = ("--width", "320", "--height", "180", "--fps", "10")


async def shown(client: CentralClient, device: str, cause: str) -> Device:
    """The row of the device page, once it tells this cause."""
    rows: list[Device] = []

    async def told() -> bool:
        rows[:] = [row for row in await client.devices() if row.id == device]
        return bool(rows) and rows[0].cause == cause

    await until(told, 60)
    return rows[0]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("wrong password", "bad_credentials"),
        ("nobody there", "unreachable"),
        ("unsupported-codec", "unsupported_codec"),
        ("no-key-frames", "no_key_frames"),
    ],
)
async def test_a_camera_with_a_fault_is_on_the_device_page(
    fault: str, cause: str, tmp_path: Path
) -> None:
    """Cause, one line with where and what to do, no password; the terminal beside it is well."""
    async with AsyncExitStack() as stack:
        if fault == "nobody there":
            url = f"rtsp://127.0.0.1:{ephemeral()}/main"
        elif fault == "wrong password":
            (tmp_path / "right").write_text("right\n")
            access = ("--username", "viewer", "--password-file", str(tmp_path / "right"))
            url = await stack.enter_async_context(simulated_camera(*SMALL, *access))
            url = url.replace("rtsp://", "rtsp://viewer:falsches-wort@")
        else:
            url = await stack.enter_async_context(simulated_camera(*SMALL, "--fault", fault))
        options = RunOptions(data=tmp_path / "var", camera_url=url)
        site = await stack.enter_async_context(running_site(options, print))
        client = await stack.enter_async_context(signed_in(site, provision.INSPECTOR))
        row = await shown(client, provision.CAMERA, cause)
        assert row.health in {"offline", "degraded"}
        assert "127.0.0.1" in row.detail
        assert "请" in row.detail
        assert "\n" not in row.detail
        assert "falsches-wort" not in row.detail
        assert (await shown(client, provision.TERMINAL, "ok")).health == "online"
