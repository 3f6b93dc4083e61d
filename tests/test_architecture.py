"""The rules of the house that a machine can check, beside ruff, mypy and import-linter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "contracts",
    "models",
    "firmware_configs",
    "edge_agent",
    "gateway",
    "central",
    "mingjing",
)
MOST_LINES = 700
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "models"}

MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "node_modules" not in path.parts
)


def test_there_are_modules() -> None:
    """The tests below have something to look at."""
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)


def test_no_module_is_too_long() -> None:
    """A module of more than 700 lines is two modules."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in MODULES
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_no_module_is_a_drawer() -> None:
    """Names that say nothing attract everything."""
    drawers = [
        str(path.relative_to(ROOT)) for path in MODULES if path.stem.lower() in FORBIDDEN_NAMES
    ]
    assert drawers == []


def test_package_files_hold_a_docstring_and_nothing_else() -> None:
    """Nothing happens, and nothing is re-exported, when a package is imported."""
    busy = []
    for path in MODULES:
        if path.name != "__init__.py":
            continue
        body = ast.parse(path.read_text()).body
        if len(body) != 1 or ast.get_docstring(ast.parse(path.read_text())) is None:
            busy.append(str(path.relative_to(ROOT)))
    assert busy == []


def test_every_folder_of_modules_is_a_package() -> None:
    """A missing __init__.py would make a namespace package by accident."""
    folders = {path.parent for path in MODULES}
    generated = {ROOT / "central" / "adapters" / "migrations" / "versions"}
    assert [f for f in folders - generated if not (f / "__init__.py").exists()] == []


def test_imports_keep_their_layers() -> None:
    """import-linter's contracts are kept, exhaustively."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(linter), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("program", ["edge_agent", "gateway", "central"])
def test_importing_a_program_starts_nothing(program: str) -> None:
    """Importing every module of a program opens no connection and starts no thread."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == program
        and path.name not in {"__main__.py", "__init__.py"}
        and "migrations" not in path.parts
    ]
    code = (
        "import importlib, socket, threading\n"
        "def refuse(*a, **k): raise RuntimeError('at import')\n"
        "socket.socket.connect = socket.socket.bind = refuse\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "ours = [t.name for t in threading.enumerate() if t is not threading.main_thread()]\n"
        "assert not ours, ours\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
