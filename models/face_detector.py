"""YuNet: from a picture to the network's input, and from its outputs to faces.

YuNet (W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023) answers on
three grids of 8, 16 and 32 pixels. Each cell says how sure it is, where the face's box lies
relative to the cell (centre offset, logarithm of the size, all in cells) and where five landmarks
are: right eye, left eye, nose tip, right and left corner of the mouth.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.errors import InvalidInput

STRIDES = (8, 16, 32)
LANDMARKS = 5

Picture = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

_COLOUR_RANK = 3
_MOST_LOG_SIZE = 8.0
"""exp(8) cells is wider than any picture; beyond lies only overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face. `box` is left, top, right, bottom; all in pixels of the picture given."""

    box: Box
    score: float
    landmarks: tuple[tuple[float, float], ...]


def scaled_size(width: int, height: int, *, longest: int) -> tuple[int, int]:
    """Width and height of a picture shrunk until its longer side fits; never enlarged."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def prepare(picture: Picture, *, multiple_of: int) -> Tensor:
    """Make the network's input from a picture (height × width × 3, BGR, 0..255).

    The picture is padded with black on the right and below, so that coordinates stay.

    Raises:
        InvalidInput: not a colour picture.
    """
    if picture.ndim != _COLOUR_RANK or picture.shape[2] != _COLOUR_RANK or not picture.size:
        raise InvalidInput(f"has the shape {picture.shape}, wanted H x W x 3", field="picture")
    height, width = picture.shape[:2]
    padded = np.zeros(
        (3, -(-height // multiple_of) * multiple_of, -(-width // multiple_of) * multiple_of),
        np.float32,
    )
    padded[:, :height, :width] = picture.transpose(2, 0, 1)
    return padded[None]


def faces(
    outputs: Mapping[str, Tensor], *, padded_width: int, score: float, overlap: float
) -> list[Face]:
    """Read the network's outputs: the surest faces first.

    Args:
        outputs: ``cls_8`` … ``kps_32`` as the network names them, batch of one.
        padded_width: width of the network's input.
        score: from which score on a cell counts.
        overlap: from which intersection over union on two boxes are one face.

    Raises:
        InvalidInput: an output is missing.
    """
    found: list[Face] = []
    for stride in STRIDES:
        try:
            sure, objects, boxes, points = (
                outputs[f"{part}_{stride}"][0] for part in ("cls", "obj", "bbox", "kps")
            )
        except KeyError as exc:
            raise InvalidInput("is missing", field=f"outputs.{exc.args[0]}") from exc
        found += _on_grid(stride, padded_width // stride, (sure, objects, boxes, points), score)
    return _distinct(found, overlap)


def _on_grid(
    stride: int,
    columns: int,
    parts: tuple[Tensor, Tensor, Tensor, Tensor],
    score: float,
) -> list[Face]:
    sure, objects, boxes, points = parts
    scores = np.sqrt(np.clip(sure[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
    found = []
    for cell in np.flatnonzero(scores >= score):
        row, column = divmod(int(cell), columns)
        dx, dy, log_w, log_h = (float(v) for v in boxes[cell])
        x, y = (column + dx) * stride, (row + dy) * stride
        w, h = (float(np.exp(min(v, _MOST_LOG_SIZE))) * stride for v in (log_w, log_h))
        marks = points[cell].reshape(LANDMARKS, 2)
        found.append(
            Face(
                box=(x - w / 2, y - h / 2, x + w / 2, y + h / 2),
                score=float(scores[cell]),
                landmarks=tuple(
                    (float(mx + column) * stride, float(my + row) * stride) for mx, my in marks
                ),
            )
        )
    return found


def _distinct(found: list[Face], overlap: float) -> list[Face]:
    """Greedy non-maximum suppression."""
    kept: list[Face] = []
    for face in sorted(found, key=lambda f: -f.score):
        if all(intersection_over_union(face.box, other.box) < overlap for other in kept):
            kept.append(face)
    return kept


def intersection_over_union(a: Box, b: Box) -> float:
    """Shared share of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)
