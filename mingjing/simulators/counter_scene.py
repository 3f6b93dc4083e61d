"""A service counter drawn with arithmetic: wall, desk, and a person who comes and goes.

Pictures are planar YUV 4:2:0 in one array of (rows * 3 / 2, columns), as libav takes them.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]

PRESENT_SHARE = 0.6
"""Of each period the person is at the counter, coming and going included."""

_WALK_S = 1.5
_FEATHER = 0.12


def blank(width: int, height: int, yuv: tuple[int, int, int]) -> Plane:
    """Return a picture of one colour."""
    picture = np.empty((height * 3 // 2, width), np.uint8)
    luma, blue, red = planes(picture, width, height)
    luma[:], blue[:], red[:] = yuv
    return picture


def planes(picture: Plane, width: int, height: int) -> tuple[Plane, Plane, Plane]:
    """Return views of the Y, U and V planes."""
    quarter = width * height // 4
    flat = picture.reshape(-1)
    shape = (height // 2, width // 2)
    start = width * height
    return (
        picture[:height],
        flat[start : start + quarter].reshape(shape),
        flat[start + quarter :].reshape(shape),
    )


@dataclass(frozen=True, slots=True)
class Sprite:
    """A picture with transparency: Y, U, V and alpha in 0-256 at full and half size."""

    luma: Plane
    blue: Plane
    red: Plane
    alpha: npt.NDArray[np.int16]
    alpha_half: npt.NDArray[np.int16]

    def paste(self, picture: Plane, size: tuple[int, int], *, left: int, top: int) -> None:
        """Blend it into a picture of `size` (width, height); what lies outside is cut."""
        width, height = size
        left, top = left // 2 * 2, top // 2 * 2
        luma, blue, red = planes(picture, width, height)
        _blend(luma, self.luma, self.alpha, left, top)
        _blend(blue, self.blue, self.alpha_half, left // 2, top // 2)
        _blend(red, self.red, self.alpha_half, left // 2, top // 2)


class CounterScene:
    """Draws the counter as it is at a moment; the same moment gives the same picture."""

    def __init__(
        self, width: int, height: int, *, portrait: Path | None = None, period_s: float = 20.0
    ) -> None:
        self._size = (width, height)
        self._period_s = period_s
        self._background = _background(width, height)
        side = height * 5 // 8 // 2 * 2
        self._person = _portrait(portrait, side) if portrait else _figure(side)
        self._side = side

    def draw(self, seconds: float) -> Plane:
        """Return a fresh picture of the scene `seconds` after its start."""
        width, height = self._size
        picture = self._background.copy()
        _shade_clock_hand(picture, width, height, seconds)
        shown = self._shown(seconds % self._period_s)
        if shown > 0:
            middle = (width - self._side) // 2 + int(8 * np.sin(seconds * 1.3))
            left = width - int((width - middle) * shown)
            bob = int(4 * np.sin(seconds * 2.1))
            self._person.paste(
                picture, self._size, left=left, top=height - self._side - height // 6 + bob
            )
        return picture

    def _shown(self, phase_s: float) -> float:
        """How far the person has come in, 0 away to 1 at the counter."""
        stay_s = self._period_s * PRESENT_SHARE
        walk_s = min(_WALK_S, stay_s / 3)
        return float(np.clip(min(phase_s, stay_s - phase_s) / walk_s, 0.0, 1.0))


def _background(width: int, height: int) -> Plane:
    picture = blank(width, height, (168, 124, 132))
    luma, blue, red = planes(picture, width, height)
    luma[:] = (luma + np.linspace(20, -20, height)[:, None]).astype(np.uint8)
    # a notice board, its lines of text, and the desk in front
    board = (slice(height // 6, height // 2), slice(width // 16, width // 4))
    luma[board] = 214
    for row in range(height // 5, height // 2 - height // 24, height // 24):
        luma[row : row + height // 90, width // 12 : width // 5] = 90
    desk = height - height // 6
    luma[desk:] = 92
    luma[desk : desk + height // 90] = 150
    blue[desk // 2 :] = 110
    red[desk // 2 :] = 146
    # fine texture, so that the encoder has something to do
    texture = np.random.default_rng(7).integers(-5, 6, size=luma.shape)
    luma[:] = np.clip(luma.astype(np.int16) + texture, 16, 235).astype(np.uint8)
    return picture


def _shade_clock_hand(picture: Plane, width: int, height: int, seconds: float) -> None:
    """A wall clock whose second hand moves, so that no two frames are the same."""
    luma = picture[:height]
    radius = height // 9
    x0, y0 = width * 7 // 8, height // 4
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    face = luma[y0 - radius : y0 + radius + 1, x0 - radius : x0 + radius + 1]
    face[rows * rows + columns * columns <= radius * radius] = 225
    angle = 2 * np.pi * seconds / 60
    for step in range(radius - 4):
        x, y = int(step * np.sin(angle)), int(-step * np.cos(angle))
        face[radius + y - 1 : radius + y + 2, radius + x - 1 : radius + x + 2] = 40


def _portrait(path: Path, side: int) -> Sprite:
    """Read a picture of a person, with soft edges."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        yuv = frame.reformat(width=side, height=side, format="yuv420p").to_ndarray()
    ramp = np.clip(np.minimum(np.arange(side), np.arange(side)[::-1]) / (side * _FEATHER), 0, 1)
    top = np.clip(np.arange(side) / (side * _FEATHER / 2), 0, 1)
    return _sprite(yuv.astype(np.uint8), side, top[:, None] * ramp[None, :])


def _figure(side: int) -> Sprite:
    """Head and shoulders of ellipses."""
    picture = blank(side, side, (70, 150, 112))
    luma, blue, red = planes(picture, side, side)
    rows, columns = np.mgrid[0:side, 0:side] / side
    head = ((columns - 0.5) / 0.17) ** 2 + ((rows - 0.32) / 0.23) ** 2 <= 1
    body = ((columns - 0.5) / 0.42) ** 2 + ((rows - 1.0) / 0.45) ** 2 <= 1
    luma[head] = 158
    blue[head[::2, ::2]] = 110
    red[head[::2, ::2]] = 150
    hair = head & (rows < 0.22)  # noqa: PLR2004 - where hair begins
    luma[hair] = 40
    for eye in (0.43, 0.57):
        luma[((columns - eye) / 0.025) ** 2 + ((rows - 0.31) / 0.02) ** 2 <= 1] = 30
    luma[(abs(columns - 0.5) < 0.06) & (abs(rows - 0.44) < 0.01)] = 80  # noqa: PLR2004 - a mouth
    return _sprite(picture, side, (head | body).astype(float))


def _sprite(yuv: Plane, side: int, alpha: npt.NDArray[np.floating]) -> Sprite:
    luma, blue, red = planes(yuv, side, side)
    weight = (alpha * 256).astype(np.int16)
    return Sprite(luma, blue, red, weight, weight[::2, ::2])


def _blend(target: Plane, source: Plane, alpha: npt.NDArray[np.int16], left: int, top: int) -> None:
    height, width = target.shape
    x0, x1 = max(0, left), min(width, left + source.shape[1])
    y0, y1 = max(0, top), min(height, top + source.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    under = target[y0:y1, x0:x1].astype(np.int32)
    over = source[part].astype(np.int32)
    target[y0:y1, x0:x1] = (under + ((over - under) * alpha[part] >> 8)).astype(np.uint8)
