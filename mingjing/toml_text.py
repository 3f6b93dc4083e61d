"""Writes the little TOML that our settings need: scalars, lists, tables and arrays of tables."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Scalar = str | int | float | bool
Table = Mapping[str, Any]


def toml_text(table: Table, *, heading: str = "") -> str:
    """Write a table as TOML; None values are left out, so is nothing else.

    Args:
        table: scalars and lists of scalars, tables of them, and lists of such tables.
        heading: comment lines for the top of the file.
    """
    lines = [f"# {line}" for line in heading.splitlines()]
    lines += _pairs(table)
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_pairs(value)]
        elif _is_table_array(value):
            for entry in value:
                lines += ["", f"[[{name}]]", *_pairs(entry)]
    return "\n".join(lines) + "\n"


def _pairs(table: Table) -> list[str]:
    return [
        f"{name} = {_value(value)}"
        for name, value in table.items()
        if value is not None and not isinstance(value, Mapping) and not _is_table_array(value)
    ]


def _value(value: Scalar | Sequence[Scalar]) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    # JSON's strings, numbers and booleans are TOML's, but for the raw DEL that TOML forbids.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_table_array(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
