"""Device profiles: reads `firmware_configs`, the quirks of each model as data."""

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import firmware_configs
from contracts.errors import InvalidInput
from contracts.ids import parse_slug
from edge_agent.core.device_profile import DeviceProfile

_FOLDERS = ("cameras", "fingerprint", "microphones")
_Text = Annotated[str, Field(max_length=500)]


class ProfileFile(BaseModel):
    """One TOML file; ``firmware_configs/schema.json`` says the same for editors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver: _Text
    maker: _Text = ""
    models: tuple[_Text, ...] = ()
    about: _Text = ""
    quirks: dict[str, Any] = {}


def load_profile(name: str, *, driver: str) -> DeviceProfile:
    """Find a profile by its file's name.

    Raises:
        InvalidInput: there is none, it is for another driver, or its file is wrong.
    """
    found = profile_files().get(parse_slug(name, field="profile"))
    if found is None:
        known = "、".join(sorted(profile_files()))
        raise InvalidInput(f"没有名为 {name!r} 的设备型号；可用的有：{known}", field="profile")
    profile = parse_profile(name, found.read_text(encoding="utf-8"))
    if profile.driver != driver:
        raise InvalidInput(
            f"型号 {name!r} 属于驱动 {profile.driver!r}，不能用于 {driver!r}", field="profile"
        )
    return profile


def parse_profile(name: str, text: str) -> DeviceProfile:
    """Read one profile.

    Raises:
        InvalidInput: not TOML, or a key is unknown or wrong; names it.
    """
    try:
        file = ProfileFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise InvalidInput(str(exc), field=f"{name}.toml") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(first["msg"], field=f"{name}.toml: {where}") from exc
    return DeviceProfile(
        name=name, driver=file.driver, maker=file.maker, models=file.models, quirks=file.quirks
    )


def profile_files() -> dict[str, Traversable]:
    """Every profile that is shipped, by name."""
    root = files(firmware_configs)
    folders = [root / folder for folder in _FOLDERS]
    return {
        file.name.removesuffix(".toml"): file
        for folder in folders
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }
