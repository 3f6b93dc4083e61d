"""What the gateway and its detector process tell each other: one JSON object per line."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from contracts.errors import InvalidInput, ProtocolError
from contracts.ids import split_stream_id
from contracts.timestamps import WallTime

MOST_LINE_BYTES = 1 << 20

_Health = Literal["starting", "online", "degraded", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One picture was looked at; `took_ms` from its arrival to this line."""

    stream: str
    at: WallTime
    people: int
    took_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorHealth:
    """How the detector fares; `detail` says what to do about it."""

    health: _Health
    model: str = ""
    detail: str = ""


def detection_line(detection: Detection) -> bytes:
    """Say what was seen."""
    return _line({"kind": "detection", **asdict(detection)})


def health_line(health: DetectorHealth) -> bytes:
    """Say how the detector fares."""
    return _line({"kind": "health", **asdict(health)})


def watch_line(streams: Sequence[str]) -> bytes:
    """Say which streams to look at, and no others."""
    return _line({"kind": "watch", "streams": list(streams)})


def parse_from_detector(line: bytes) -> Detection | DetectorHealth:
    """Read a line of the detector.

    Raises:
        ProtocolError: not one of its lines.
    """
    fields = _fields(line)
    try:
        if fields["kind"] == "health":
            if fields["health"] not in get_args(_Health):
                raise ProtocolError(f"{fields['health']!r} is no health", field="health")
            return DetectorHealth(
                health=fields["health"], model=str(fields["model"]), detail=str(fields["detail"])
            )
        split_stream_id(str(fields["stream"]))
        return Detection(
            stream=str(fields["stream"]),
            at=WallTime(int(fields["at"])),
            people=max(0, int(fields["people"])),
            took_ms=int(fields["took_ms"]),
        )
    except (KeyError, TypeError, ValueError, InvalidInput) as exc:
        raise ProtocolError(f"not a line of the detector: {line[:80]!r}", field="line") from exc


def parse_watch(line: bytes) -> frozenset[str]:
    """Read which streams to look at.

    Raises:
        ProtocolError: not such a line.
    """
    streams = _fields(line).get("streams")
    if not isinstance(streams, list):
        raise ProtocolError(f"not a list of streams: {line[:80]!r}", field="line")
    return frozenset(str(s) for s in streams)


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"not JSON: {line[:80]!r}", field="line") from exc
    if not isinstance(fields, dict):
        raise ProtocolError(f"not an object: {line[:80]!r}", field="line")
    return fields
