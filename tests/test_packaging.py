"""The distribution: what the wheel holds, and that nothing in it belongs to this machine."""

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "contracts",
    "models",
    "firmware_configs",
    "edge_agent",
    "gateway",
    "central",
    "mingjing",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def test_wheel_holds_our_packages_and_no_more(wheel: zipfile.ZipFile) -> None:
    """Seven packages; no tests, no development files of the browser's part."""
    names = wheel.namelist()
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == PACKAGES
    assert [n for n in names if "node_modules" in n or n.startswith("central/web/src")] == []


def test_wheel_holds_its_data_files(wheel: zipfile.ZipFile) -> None:
    """Whatever is read at run time and tracked beside the modules is inside."""
    names = set(wheel.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", *sorted(PACKAGES)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    data = [n for n in tracked if not n.startswith("central/web/") and (ROOT / n).exists()]
    assert any(n.endswith((".toml", ".yaml", "py.typed")) for n in data)
    assert [n for n in data if n not in names] == []


def test_wheel_holds_the_built_pages(wheel: zipfile.ZipFile) -> None:
    """Pages that were built here are installed with central."""
    if not (ROOT / "central" / "web" / "dist" / "index.html").exists():
        pytest.skip("the pages are not built; make setup builds them")
    assert "central/web/dist/index.html" in wheel.namelist()


def test_console_script_and_licence(wheel: zipfile.ZipFile) -> None:
    """The command and the licence are part of the distribution."""
    text = {n.split("/")[-1]: n for n in wheel.namelist() if ".dist-info/" in n}
    assert "mingjing = mingjing.cli:main" in wheel.read(text["entry_points.txt"]).decode()
    assert "LICENSE" in text
    assert "Private :: Do Not Upload" in wheel.read(text["METADATA"]).decode()


def test_constraints_pin_each_direct_dependency() -> None:
    """A fresh environment gets the versions that were tested, from any index."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if "==" not in line or "@" in line or "+" in line] == []
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(d for extra in project["project"]["optional-dependencies"].values() for d in extra),
        *project["dependency-groups"]["dev"],
    ]
    names = {_name(line) for line in wanted}
    assert names - pinned - {"mingjing"} == set()


def test_lock_file_names_no_host() -> None:
    """npm's lock holds versions and hashes; where to fetch is the user's choice."""
    text = (ROOT / "central" / "web" / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert text.count('"integrity"') > 0


def _name(requirement: str) -> str:
    for mark in "[<>=!~; ":
        requirement = requirement.partition(mark)[0]
    return requirement.lower().replace("_", "-")
