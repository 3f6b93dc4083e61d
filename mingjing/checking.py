"""Checks files that people write (settings, flow packs), and footage against its index."""

import importlib
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contracts.errors import InvalidInput, Unavailable
from gateway.adapters.footage.audit import VolumeAudit
from gateway.adapters.footage.schema import INDEX_NAME
from gateway.config import GatewayConfig
from gateway.core.footage_audit import Finding
from gateway.services.footage_check import CheckLevel, check_footage

_REMEDIES = {
    "R0": "停网关, 换磁盘, 从备份取回索引 / stop the gateway, replace the disk, restore the index",
    "R1": "停网关再启动, 恢复时会登记或指明 / restart the gateway; recovery adopts or names it",
    "R2": "从备份取回此文件, 并查谁删了它 / restore the file, and find out who removed it",
    "R3": "从备份取回此文件, 检查磁盘 / restore the file, and examine the disk",
    "R4": "内容被改过或磁盘损坏: 保全现场, 从备份取回 / altered or damaged: keep it, restore it",
    "R5": "索引被改过: 保全现场, 从备份取回索引 / the index was altered: keep it, restore a copy",
    "R6": "索引被改过: 保全现场, 从备份取回索引 / the index was altered: keep it, restore a copy",
    "R7": "索引缺行: 保全现场, 从备份取回索引 / rows are missing: keep it, restore a copy",
    "R8": "索引被改过: 保全现场, 从备份取回索引 / the index was altered: keep it, restore a copy",
}
"""What to do about a broken invariant of docs/design/recording.md."""


def volumes_of(folder: Path) -> list[Path]:
    """The footage volumes of a data folder, or the folder itself when it is a volume.

    Raises:
        InvalidInput: it is neither, or its ``gateway.toml`` is wrong.
    """
    if (folder / INDEX_NAME).is_file():
        return [folder]
    settings = folder / "gateway.toml"
    if settings.is_file():
        return list(GatewayConfig.load(settings).media.volumes)
    raise InvalidInput(
        f"不是数据目录, 也不是录像卷: 应有 gateway.toml 或 {INDEX_NAME} / "
        f"neither a data folder (gateway.toml) nor a footage volume ({INDEX_NAME})"
    )


def check_volume(volume: Path, *, level: CheckLevel) -> list[Finding]:
    """Compare a volume's index with its disk; empty when they agree. It may be in use.

    Raises:
        Unavailable: the folder holds no index.
    """
    return check_footage(VolumeAudit(volume), level=level)


def finding_line(volume: Path, finding: Finding) -> str:
    """What, where and what to do, on one line."""
    remedy = _REMEDIES[finding.invariant]
    return f"{volume}/{finding.where}: {finding.invariant} {finding.what}; {remedy}"


def check_file(path: Path) -> str:
    """Read a file as the program that uses it would; says what it is.

    Raises:
        InvalidInput: not readable, of no kind we know, or a field is wrong (named).
        Unavailable: nothing here can check this kind yet.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"读不出来 / cannot be read: {exc}") from exc
    if path.suffix in {".yaml", ".yml"}:
        return _check_with("central.adapters.flow_packs", "read_file", path, "流程包 / flow pack")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidInput(f"不是 TOML / not TOML: {exc}") from exc
    return _check_settings(path, table)


def _check_settings(path: Path, table: dict[str, Any]) -> str:
    if "media" in table:
        return _check_with("gateway.config", "GatewayConfig", path, "网关配置 / gateway settings")
    if "database" in table:
        return _check_with("central.config", "CentralConfig", path, "中心配置 / central settings")
    if "devices" in table and "gateway" in table:
        return _check_with("edge_agent.config", "AgentConfig", path, "代理配置 / agent settings")
    raise InvalidInput(
        "不认识这种文件: 应是 agent.toml, gateway.toml, central.toml 或流程包 / "
        "neither settings of a program nor a flow pack"
    )


def _check_with(module: str, name: str, path: Path, kind: str) -> str:
    if find_spec(module) is None:
        raise Unavailable(f"{kind}: 这里还不能核对 / cannot be checked here yet")
    reader = getattr(importlib.import_module(module), name)
    getattr(reader, "load", reader)(path)
    return f"{kind}: 正确 / correct"
