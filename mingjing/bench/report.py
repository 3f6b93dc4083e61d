"""What a benchmark says: one object for machines, one table for people."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts.timestamps import to_iso


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure beside its peer's.

    Attributes:
        peer: what it is compared with; empty when it stands alone.
        ratio: value / peer value.
        goal: what was aimed at, in the figure's unit, or as a ratio when there is a peer.
        met: whether the goal was reached; None without a goal.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    goal: float | None = None
    met: bool | None = None


def compared(
    name: str, value: float, unit: str, *, peer: str, peer_value: float, goal: float | None = None
) -> Measure:
    """A figure beside its peer's; a goal is a ratio, reached when not above it."""
    ratio = value / peer_value if peer_value else None
    return Measure(
        name=name,
        value=round(value, 3),
        unit=unit,
        peer=peer,
        peer_value=round(peer_value, 3),
        ratio=round(ratio, 2) if ratio is not None else None,
        goal=goal,
        met=None if goal is None else ratio is not None and ratio <= goal,
    )


def plain(name: str, value: float, unit: str, *, goal: float | None = None) -> Measure:
    """A figure that stands alone; its goal is reached when it is not above it."""
    return Measure(
        name=name,
        value=round(value, 3),
        unit=unit,
        goal=goal,
        met=None if goal is None else value <= goal,
    )


def result(bench: str, measures: list[Measure], *, now: int, **more: Any) -> dict[str, Any]:
    """The object that every benchmark prints with ``--json``."""
    return {
        "bench": bench,
        "machine": machine(),
        "date": to_iso(now),
        **more,
        "measures": [asdict(measure) for measure in measures],
    }


def table(found: dict[str, Any]) -> str:
    """The same as Markdown."""
    lines = [
        f"{found['bench']}: {found['machine']}, {found['date'][:10]}",
        "",
        "| measure | value | unit | peer | peer value | ratio | goal | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["measures"]:
        cells = [
            row[key] for key in ("name", "value", "unit", "peer", "peer_value", "ratio", "goal")
        ]
        met = {None: "", True: "yes", False: "no"}[row["met"]]
        lines.append("| " + " | ".join("" if c is None else str(c) for c in [*cells, met]) + " |")
    return "\n".join(lines)


def machine() -> str:
    """Processor, cores and system in a few words."""
    return f"{_processor()}, {os.cpu_count()} CPU, {platform.system()} {platform.machine()}"


def as_json(found: dict[str, Any]) -> str:
    """One line."""
    return json.dumps(found, ensure_ascii=False)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
