"""A clock burnt into the picture that a program can read back after H.264.

Geometry, relative so that it survives scaling of the whole picture:

* The strip is the top 1/18 of the picture's height over its full width.
* It holds 44 cells of equal width. White is 1, black is 0. From the left:
  2 cells ``1 0`` (start), 32 cells the time, 8 cells its check, 2 cells ``0 1`` (end).
* The time is milliseconds since the Unix epoch modulo 2^32, most significant bit first.
* The check is ``(b0 + 3*b1 + 5*b2 + 7*b3 + 0x5A) mod 256`` of the time's octets b0 (highest) to b3.

To read: take the grey value in the middle of each cell, at 1/36 of the height; the mean of the four
start and end cells is the threshold; refuse the frame when these four or the check do not fit.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

CELLS = 44
STRIP_FRACTION = 18

_START = (1, 0)
_END = (0, 1)
_TIME_BITS = 32
_CHECK_BITS = 8
_WEIGHTS = (1, 3, 5, 7)
_CHECK_START = 0x5A
_WHITE = 235
_BLACK = 16
_LEAST_CONTRAST = 60
_RANGE = 1 << _TIME_BITS

Grey = npt.NDArray[np.uint8]


def strip_height(height: int) -> int:
    """Return the rows of the strip in a picture of `height` rows, an even number."""
    return max(2, height // STRIP_FRACTION // 2 * 2)


def check_of(milliseconds: int) -> int:
    """Return the check octet of a 32-bit time."""
    octets = milliseconds.to_bytes(4, "big")
    return (sum(w * o for w, o in zip(_WEIGHTS, octets, strict=True)) + _CHECK_START) & 0xFF


def draw(luma: Grey, milliseconds: int) -> None:
    """Burn the time into the luma plane (rows, columns; video range) in place.

    Args:
        luma: 8-bit luma, written to.
        milliseconds: since the Unix epoch; taken modulo 2^32.
    """
    time = milliseconds % _RANGE
    number = time << _CHECK_BITS | check_of(time)
    bits = _TIME_BITS + _CHECK_BITS
    cells = (*_START, *((number >> (bits - 1 - at)) & 1 for at in range(bits)), *_END)
    width = luma.shape[1]
    which = np.arange(width) * CELLS // width
    values = np.where(np.array(cells, dtype=bool), _WHITE, _BLACK).astype(np.uint8)
    luma[: strip_height(luma.shape[0])] = values[which]


def decode(grey: Grey) -> int | None:
    """Read the time out of a grey picture (rows, columns); None when there is none to read."""
    height = strip_height(grey.shape[0])
    quarter = height // 4
    rows = grey[quarter : max(quarter + 1, height - quarter)]
    return decode_row(rows.mean(axis=0))


def decode_row(row: npt.NDArray[np.floating] | Grey) -> int | None:
    """Read the time out of one row of grey values through the middle of the strip."""
    width = len(row)
    if width < 2 * CELLS:
        return None
    edges = [width * cell / CELLS for cell in range(CELLS + 1)]
    means = [
        float(np.mean(row[round(left + (right - left) / 4) : round(right - (right - left) / 4)]))
        for left, right in pairwise(edges)
    ]
    white = (means[0] + means[-1]) / 2
    black = (means[1] + means[-2]) / 2
    if white - black < _LEAST_CONTRAST:
        return None
    bits = [int(mean > (white + black) / 2) for mean in means]
    if tuple(bits[:2]) != _START or tuple(bits[-2:]) != _END:
        return None
    number = int("".join(map(str, bits[2:-2])), 2)
    time, check = number >> _CHECK_BITS, number & 0xFF
    return time if check == check_of(time) else None


def unwrap(milliseconds: int, near: int) -> int:
    """Return the full time in ms whose last 32 bits are given and which lies nearest to `near`."""
    ahead = (milliseconds - near + _RANGE // 2) % _RANGE - _RANGE // 2
    return near + ahead
