"""What every use case is given: the parts of central behind their ports."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts, as the composition root put them together."""
