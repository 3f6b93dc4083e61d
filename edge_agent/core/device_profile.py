"""What is peculiar about one device model: the validated form of a `firmware_configs` file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Quirk = str | int | float | bool | tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One device model or family.

    Attributes:
        name: the file's name without ending, as written in the agent's configuration.
        driver: which driver speaks to it.
        maker: as printed on the case.
        models: type designations that were seen to behave like this.
        quirks: the driver's own keys; each driver reads those it knows and refuses the others.
    """

    name: str
    driver: str
    maker: str = ""
    models: tuple[str, ...] = ()
    quirks: Mapping[str, Quirk] = field(default_factory=dict)
