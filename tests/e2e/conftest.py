"""One whole site for all end-to-end tests: every engine and program as a process of its own."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mingjing import provision
from mingjing.central_client import signed_in
from mingjing.preparation import build_pages, fetch_models
from mingjing.provision import Ports
from mingjing.sample_case import SampleCase, run_sample_case, wait_for_devices
from mingjing.site import RunOptions, running_site
from tests.e2e.site_under_test import SiteUnderTest

STEP_SECONDS = 4.0
MEASURED = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The site is shared, so its tests share one loop, too."""
    for item in items:
        if "running" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.timeout(300))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEASURED] = []


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    for line in config.stash[MEASURED]:
        terminalreporter.write_line(f"measured: {line}")


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> list[str]:
    """Lines to print at the end of the run; figures are reported, never asserted."""
    return pytestconfig.stash[MEASURED]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SiteUnderTest]:
    folder = tmp_path_factory.mktemp("site")
    await asyncio.to_thread(build_pages, print)
    await asyncio.to_thread(fetch_models, print)
    ready: asyncio.Future[SiteUnderTest] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    # Set-up and tear-down of a fixture run in different tasks; the site's task group wants one.
    task = asyncio.create_task(_hold(folder, ready, over))
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    yield ready.result()
    over.set()
    await task


async def _hold(folder: Path, ready: "asyncio.Future[SiteUnderTest]", over: asyncio.Event) -> None:
    sent = folder / "sent-units"
    first = 20_000 + os.getpid() % 1_000 * 10
    options = RunOptions(
        data=folder / "var",
        ports=Ports(**{name: first + at for at, name in enumerate(Ports.__dataclass_fields__)}),
        camera_arguments=("--record-sent", str(sent)),
    )
    async with (
        running_site(options, print) as site,
        signed_in(site, provision.INSPECTOR) as inspector,
        signed_in(site, provision.CLERK) as clerk,
    ):
        await wait_for_devices(inspector, print)
        ready.set_result(SiteUnderTest(site, clerk, inspector, sent))
        await over.wait()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sample(running: SiteUnderTest) -> SampleCase:
    """A case whose first steps were done and whose footage is bound."""
    return await run_sample_case(running.site, running.clerk, print, step_seconds=STEP_SECONDS)
