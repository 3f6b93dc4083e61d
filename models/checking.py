"""A picture made of arithmetic, and the comparison of what a model answers to it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from contracts.errors import InvalidInput

TOLERANCE = 1e-3


def reference_picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Smooth colour waves: the same everywhere, and lively enough to move every output."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [np.sin(x / (7 + 4 * c)) + np.cos(y / (11 + 3 * c)) for c in range(3)]
    return np.stack([(p + 2) * 63.75 for p in planes], axis=2).astype(np.uint8)


def check_means(
    outputs: Mapping[str, npt.NDArray[np.float32]], wanted: Mapping[str, float]
) -> None:
    """Compare the mean of every output.

    Raises:
        InvalidInput: an output is missing, not finite, or differs; names it.
    """
    for name, mean in wanted.items():
        values = outputs.get(name)
        if values is None:
            raise InvalidInput("is missing", field=f"outputs.{name}")
        got = float(values.mean())
        if not np.isfinite(got) or abs(got - mean) > TOLERANCE * max(1.0, abs(mean)):
            raise InvalidInput(
                f"has the mean {got:.6f}, wanted {mean:.6f}", field=f"outputs.{name}"
            )
