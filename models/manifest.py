"""The manifest of inference models, as types. Pure: the text comes in as an argument."""

import tomllib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import InvalidInput

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Entry):
    """A file inside a wheel of a package registry."""

    package: str
    package_version: str
    member: str
    """Path inside the wheel."""
    sha256: _Sha256


class ModelInput(_Entry):
    """What the network takes. Sides are in pixels."""

    name: str
    layout: Literal["NCHW"]
    colour: Literal["BGR"]
    longest_side: Annotated[int, Field(ge=32, le=4096)]
    multiple_of: Annotated[int, Field(ge=1)]


class Thresholds(_Entry):
    """From which score on a finding counts, and from which overlap (IoU) on two are one."""

    score: Annotated[float, Field(gt=0, lt=1)]
    overlap: Annotated[float, Field(gt=0, lt=1)]


class Check(_Entry):
    """What the converted model must answer to the test picture of this size."""

    height: int
    width: int
    means: dict[str, float]
    """Output name -> mean of its values, to 1e-3."""


class ModelEntry(_Entry):
    """One model: what it does, where it comes from, how it is used."""

    version: str
    task: Literal["face_detection"]
    licence: str
    licence_read_at: str
    transform: Literal["normalise"]
    source: Source
    input: ModelInput
    thresholds: Thresholds
    check: Check


class Manifest(_Entry):
    """Every model, by name."""

    models: Mapping[str, ModelEntry]


def parse_manifest(text: str) -> Manifest:
    """Read a manifest.

    Raises:
        InvalidInput: not TOML, or a field is missing, wrong or unknown (named).
    """
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise InvalidInput(f"not TOML: {exc}", field="manifest") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        raise InvalidInput(first["msg"], field=".".join(map(str, first["loc"]))) from exc
