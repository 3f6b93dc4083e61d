"""What the first run of the demonstration needs beside Python packages: pages and models."""

import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from contracts.errors import Unavailable
from models.fetch import default_cache, fetch, states

_BUILD_S = 900
_SOURCES = ("src", "public", "index.html", "package-lock.json", "vite.config.ts", "tsconfig.json")

Say = Callable[[str], None]


def build_pages(say: Say) -> None:
    """Build the browser's part when it is missing or older than its sources.

    Raises:
        Unavailable: npm is missing, or the build failed; with its last words.
    """
    web = Path(str(files("central"))) / "web"
    if not pages_are_stale(web):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(
            "网页还没有构建, 需要 Node.js 20.19 以上 / "
            "the pages are not built: install Node.js 20.19 or newer"
        )
    if not (web / "node_modules").exists():
        say("取网页依赖 / web packages")
        _run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], web, _BUILD_S)
    say("构建网页 / building the pages")
    _run([npm, "run", "--silent", "build"], web, _BUILD_S)


def pages_are_stale(web: Path) -> bool:
    """Whether the pages are missing or older than what they are built from.

    An installation from a wheel has no sources; then what is there counts.
    """
    page = web / "dist" / "index.html"
    sources = [path for name in _SOURCES for path in _files(web / name)]
    if not page.exists():
        return True
    built = page.stat().st_mtime
    return any(path.stat().st_mtime > built for path in sources)


def fetch_models(say: Say) -> None:
    """Get the inference models that are missing; each is verified before use.

    Raises:
        Unavailable: they cannot be had.
    """
    cache = default_cache()
    if any(model.state != "ready" for model in states(cache)):
        fetch(cache, say=lambda line: say(f"识别模型 / model {line}"))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [found for found in path.rglob("*") if found.is_file()]


def _run(argv: list[str], folder: Path, seconds: float) -> None:
    try:
        subprocess.run(
            argv, cwd=folder, check=True, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.CalledProcessError as exc:
        words = "\n".join((exc.stdout + exc.stderr).splitlines()[-12:])
        raise Unavailable(f"{' '.join(argv[:3])} 失败 / failed:\n{words}") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"{' '.join(argv[:3])}: {exc}") from exc
