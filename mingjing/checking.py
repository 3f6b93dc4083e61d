"""Checks files that people write: settings of the programs, flow packs."""

import importlib
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contracts.errors import InvalidInput, Unavailable


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
