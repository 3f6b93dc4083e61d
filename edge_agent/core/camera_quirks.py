"""What a profile may say of an RTSP camera model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from contracts.errors import InvalidInput
from edge_agent.core.device_profile import Quirk
from edge_agent.core.rtsp_session import KeepAlive

TransportChoice = Literal["auto", "tcp", "udp"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "transport": ("auto", "tcp", "udp"),
    "keep_alive": ("auto", "options", "get_parameter"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraQuirks:
    """Peculiarities of one camera model.

    Attributes:
        main_path: path and query of the main stream's URL.
        sub_path: the same of the sub stream; empty when it has none.
        transport: what works best; ``auto`` tries TCP first.
        keep_alive: the request that keeps a session; ``auto`` asks the camera.
        audio: False where the sound of this model is unusable.
    """

    main_path: str = "/"
    sub_path: str = ""
    transport: TransportChoice = "auto"
    keep_alive: KeepAlive = "auto"
    audio: bool = True


def parse_quirks(quirks: Mapping[str, Quirk]) -> CameraQuirks:
    """Read a profile's quirks.

    Raises:
        InvalidInput: a quirk that RTSP cameras do not have, or a wrong value.
    """
    for name, value in quirks.items():
        field = f"quirks.{name}"
        if name in {"main_path", "sub_path"}:
            if not isinstance(value, str) or not value.startswith("/"):
                raise InvalidInput("must be a path that begins with /", field=field)
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise InvalidInput(f"must be one of {', '.join(_CHOICES[name])}", field=field)
        elif name == "audio":
            if not isinstance(value, bool):
                raise InvalidInput("must be true or false", field=field)
        else:
            raise InvalidInput("is no quirk of an RTSP camera", field=field)
    return CameraQuirks(
        main_path=cast("str", quirks.get("main_path", "/")),
        sub_path=cast("str", quirks.get("sub_path", "")),
        transport=cast("TransportChoice", quirks.get("transport", "auto")),
        keep_alive=cast("KeepAlive", quirks.get("keep_alive", "auto")),
        audio=quirks.get("audio", True) is True,
    )
