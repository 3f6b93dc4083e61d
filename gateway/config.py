"""The gateway's settings: one TOML file. A typing error stops the program and names the field.

Paths in the file are relative to the file, so that a data folder can be moved or copied whole.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from contracts.errors import InvalidInput
from contracts.ids import parse_site_id

_MOST_PORT = 65_535

_Config = TypeVar("_Config", bound="GatewayConfig")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerSection(_Section):
    """Where the site's NATS listens for programs (not for devices)."""

    url: Annotated[str, Field(pattern=r"^(nats|tls)://")]


class MediaSection(_Section):
    """Where footage goes and on which addresses media is received."""

    volumes: Annotated[tuple[Path, ...], Field(min_length=1, max_length=64)]
    ice_addresses: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    """Addresses offered to agents and viewers; none: every address of the host."""


class DetectorSection(_Section):
    """Who looks at pictures, and how often."""

    enabled: bool = True
    cache: str = ""
    """Folder of the fetched models; empty: the user's cache folder."""
    interval_s: Annotated[float, Field(gt=0, le=60)] = 2.0


class GatewayConfig(_Section):
    """Everything one gateway is told at start. All paths are absolute after loading."""

    source: Path
    """The file this was read from; child processes are started with it."""
    site: str
    data: Path
    listen: str
    certificate: Path
    key: Path
    ca: Path
    central_certificate: Path
    broker: BrokerSection
    media: MediaSection
    detector: DetectorSection = DetectorSection()

    @field_validator("site")
    @classmethod
    def _check_site(cls, value: str) -> str:
        return _as_value_error(parse_site_id, value)

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not host or not colon or not port.isdecimal() or int(port) > _MOST_PORT:
            raise ValueError(f"{value!r} 不是 主机:端口 (not host:port, e.g. 127.0.0.1:8460)")
        return value

    @property
    def host(self) -> str:
        """Address to listen on, without the brackets of IPv6."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port to listen on; 0 takes a free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def model_cache(self) -> Path:
        """Folder of the fetched models."""
        if self.detector.cache:
            return _below(self.source.parent, Path(self.detector.cache))
        return Path.home() / ".cache" / "mingjing" / "models"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a settings file.

        Raises:
            InvalidInput: no such file, not TOML, or a field is missing, wrong or unknown (named).
        """
        source = path.absolute()
        try:
            fields = tomllib.loads(source.read_text(encoding="utf-8"))
        except OSError as exc:
            raise InvalidInput(f"读不到配置文件 (cannot be read): {exc.strerror}") from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise InvalidInput(f"不是 TOML (not TOML): {exc}") from exc
        try:
            parsed = cls.model_validate({**fields, "source": source})
        except ValidationError as exc:
            first = exc.errors()[0]
            raise InvalidInput(first["msg"], field=".".join(map(str, first["loc"]))) from exc
        return _resolved(parsed)


def _resolved(config: _Config) -> _Config:
    base = config.source.parent
    update: dict[str, Any] = {
        name: _below(base, getattr(config, name))
        for name in ("data", "certificate", "key", "ca", "central_certificate")
    }
    volumes = tuple(_below(base, volume) for volume in config.media.volumes)
    update["media"] = config.media.model_copy(update={"volumes": volumes})
    return config.model_copy(update=update)


def _below(base: Path, path: Path) -> Path:
    expanded = path.expanduser()
    return expanded if expanded.is_absolute() else base / expanded


def _as_value_error(check: Any, value: str) -> str:
    try:
        return str(check(value))
    except InvalidInput as exc:
        raise ValueError(str(exc)) from exc
