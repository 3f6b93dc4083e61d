"""The agent's settings: one TOML file, checked completely before anything starts.

Each driver's own keys stand beside the common ones of its device and are checked by the driver's
`Options`. A mistake is answered with the line to change.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import InvalidInput
from contracts.ids import parse_device_id, parse_site_id
from contracts.signing import common_name, load_certificate
from contracts.wire.devices import DeviceClass
from edge_agent.core.device_profile import DeviceProfile
from edge_agent.core.spool_policy import SpoolLimits
from edge_agent.ports import DriverType
from edge_agent.profiles import load_profile

DRIVERS = "mingjing.drivers"
_COMMON = frozenset({"id", "class", "driver", "profile", "certificate", "key"})
_MEGABYTE = 1024 * 1024

M = TypeVar("M", bound=BaseModel)


class BrokerOptions(BaseModel):
    """The site's message broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 8883
    ca: Path


class GatewayOptions(BaseModel):
    """Where media goes; `ice_addresses` empty means every address of this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern="^https://[^/]+$")]
    ca: Path
    ice_addresses: tuple[str, ...] = ()


class SpoolOptions(BaseModel):
    """Bounds of each device's spool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_megabytes: Annotated[int, Field(ge=1)] = 256

    def limits(self) -> SpoolLimits:
        """As the spool wants them."""
        return SpoolLimits(most_bytes=self.most_megabytes * _MEGABYTE)


class DeviceOptions(BaseModel):
    """The keys that every device has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    device_class: Annotated[DeviceClass, Field(alias="class")]
    driver: str
    profile: str
    certificate: Path
    key: Path


class _File(BaseModel):
    """The file as it stands; devices are checked one by one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str
    data: Path = Path("agent")
    broker: BrokerOptions
    gateway: GatewayOptions | None = None
    spool: SpoolOptions = SpoolOptions()
    devices: Annotated[list[dict[str, Any]], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """One device, everything found and checked."""

    common: DeviceOptions
    driver: DriverType
    options: BaseModel
    profile: DeviceProfile
    streams: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Everything the agent is started with; all paths absolute."""

    site: str
    data: Path
    broker: BrokerOptions
    gateway: GatewayOptions | None
    spool: SpoolOptions
    devices: tuple[DeviceConfig, ...]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check a file.

        Raises:
            InvalidInput: what is wrong, in which line, and what to do.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise InvalidInput(f"{path}: 读不到配置文件（{exc}）", field="config") from exc
        reader = _Reader(path, text)
        return cls(**reader.read())


class _Reader:
    """Checks one file and says where its mistakes are."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._base = path.absolute().parent

    def read(self) -> dict[str, Any]:
        try:
            table = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as exc:
            raise InvalidInput(f"不是合法的 TOML：{exc}", field=str(self._path)) from exc
        try:
            file = _File.model_validate(table)
            parse_site_id(file.site)
        except ValidationError as exc:
            raise self._wrong(exc, ()) from exc
        except InvalidInput as exc:
            raise self._mistake(("site",), _bare(exc)) from exc
        devices = tuple(self._device(n, entry) for n, entry in enumerate(file.devices))
        self._check_together(file, devices)
        return {
            "site": file.site,
            "data": self._base / file.data,
            "broker": self._based(file.broker),
            "gateway": self._based(file.gateway) if file.gateway else None,
            "spool": file.spool,
            "devices": devices,
        }

    def _device(self, number: int, entry: Mapping[str, Any]) -> DeviceConfig:
        at = ("devices", number)
        own = {key: value for key, value in entry.items() if key not in _COMMON}
        try:
            common = self._based(
                DeviceOptions.model_validate({k: v for k, v in entry.items() if k in _COMMON})
            )
            driver = find_driver(common.driver)
            options = self._based(driver.Options.model_validate(own))
        except ValidationError as exc:
            raise self._wrong(exc, at) from exc
        except InvalidInput as exc:
            raise self._mistake((*at, exc.field), _bare(exc)) from exc
        try:
            parse_device_id(common.id, field="id")
            profile = load_profile(common.profile, driver=common.driver)
            self._check_certificate(common)
        except InvalidInput as exc:
            raise self._mistake((*at, exc.field), _bare(exc)) from exc
        return DeviceConfig(
            common=common,
            driver=driver,
            options=options,
            profile=profile,
            streams=driver.streams(options),
        )

    def _check_certificate(self, common: DeviceOptions) -> None:
        _check_readable(common.key, "key")
        certificate = _check_readable(common.certificate, "certificate")
        name = common_name(load_certificate(certificate))
        if name != common.id:
            raise InvalidInput(f"证书属于设备 {name!r}，不是 {common.id!r}", field="certificate")

    def _check_together(self, file: _File, devices: Sequence[DeviceConfig]) -> None:
        authorities = {"broker": file.broker.ca}
        if file.gateway is not None:
            authorities["gateway"] = file.gateway.ca
        for table, ca in authorities.items():
            try:
                load_certificate(_check_readable(self._base / ca, "ca"))
            except InvalidInput as exc:
                raise self._mistake((table, "ca"), _bare(exc)) from exc
        seen: set[str] = set()
        for number, device in enumerate(devices):
            if device.common.id in seen:
                raise self._mistake(("devices", number, "id"), f"{device.common.id!r} 重复出现")
            seen.add(device.common.id)
            if device.streams and file.gateway is None:
                raise self._mistake(
                    ("devices", number), "有音视频的设备需要 [gateway] 一节（url、ca）"
                )

    def _based(self, model: M) -> M:
        """A copy with every path resolved against the file's folder."""
        update = {
            name: self._base / value
            for name in type(model).model_fields
            if isinstance(value := getattr(model, name), Path)
        }
        return model.model_copy(update=update)

    def _wrong(self, exc: ValidationError, prefix: tuple[str | int, ...]) -> InvalidInput:
        first = exc.errors()[0]
        texts = {
            "extra_forbidden": "没有这个配置项，请检查拼写",
            "missing": "缺少这个配置项，请补上",
        }
        text = texts.get(first["type"], first["msg"])
        return self._mistake((*prefix, *first["loc"]), text)

    def _mistake(self, loc: tuple[str | int, ...], text: str) -> InvalidInput:
        line = find_line(self._text, loc)
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
        return InvalidInput(text, field=f"{self._path} 第 {line} 行 {dotted.lstrip('.')}")


def _check_readable(file: Path, field: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise InvalidInput(
            f"读不到文件 {file}（{exc.strerror}）：请先签发证书，并检查权限", field=field
        ) from exc


def _bare(exc: InvalidInput) -> str:
    return str(exc).removeprefix(f"{exc.field}: ")


def find_driver(name: str) -> DriverType:
    """Find a driver by its entry point.

    Raises:
        InvalidInput: there is none of that name, or it cannot be loaded.
    """
    found = {point.name: point for point in entry_points(group=DRIVERS)}
    if name not in found:
        known = "、".join(sorted(found)) or "（没有安装任何驱动）"
        raise InvalidInput(f"没有名为 {name!r} 的驱动；可用的有：{known}", field="driver")
    try:
        driver: DriverType = found[name].load()
    except (ImportError, AttributeError) as exc:
        raise InvalidInput(f"驱动 {name!r} 无法载入：{exc}", field="driver") from exc
    return driver


def find_line(text: str, loc: tuple[str | int, ...]) -> int:
    """The line (from 1) of a key, or of the table that should hold it."""
    tables = [part for part in loc if isinstance(part, str)]
    number = next((part for part in loc if isinstance(part, int)), None)
    best, here, seen = 1, "", -1
    for at, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?\s*([^\]\s]+)\s*\]", line):
            here = header.group(1)
            seen += here == tables[0] and number is not None
            if here == tables[0] and (number is None or seen == number):
                best = at
        in_table = here == tables[0] and (number is None or seen == number)
        key = tables[-1] if len(tables) > 1 or number is None else ""
        is_there = (in_table and len(tables) > 1) or (not here and len(tables) == 1)
        if key and is_there and re.match(rf"\s*{re.escape(key)}\s*=", line):
            return at
    return best
