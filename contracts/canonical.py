"""Canonical JSON: the one byte form that is hashed and signed (after RFC 8785, integers only)."""

import hashlib
import json
from typing import Any

from contracts.errors import InvalidInput


def canonical_bytes(value: Any) -> bytes:
    """Serialise with sorted keys, no white space, UTF-8, and no floats.

    Raises:
        InvalidInput: the value holds a float or something JSON has not.
    """
    _refuse_floats(value, "")
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, in hex."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def _refuse_floats(value: Any, path: str) -> None:
    if isinstance(value, float):
        raise InvalidInput("floats have no canonical form; use integers with a unit", field=path)
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_floats(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_floats(item, f"{path}[{index}]")
    elif not isinstance(value, str | int | bool | None):
        raise InvalidInput(f"{type(value).__name__} has no canonical form", field=path)
