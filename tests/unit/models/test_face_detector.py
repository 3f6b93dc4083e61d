"""Pre- and post-processing of the face detector, on outputs made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidInput
from models.checking import check_means
from models.face_detector import faces, intersection_over_union, prepare, scaled_size
from models.fetch import load_manifest
from models.manifest import parse_manifest
from models.normalise import normalise

SIDE = 64


def silent_outputs() -> dict[str, np.ndarray]:
    outputs = {}
    for stride in (8, 16, 32):
        cells = (SIDE // stride) ** 2
        for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{part}_{stride}"] = np.zeros((1, cells, width), np.float32)
    return outputs


def put_face(outputs, *, stride, cell, cls=0.81, obj=1.0, log_size=0.0):
    outputs[f"cls_{stride}"][0, cell] = cls
    outputs[f"obj_{stride}"][0, cell] = obj
    outputs[f"bbox_{stride}"][0, cell] = (0.5, 0.5, log_size, log_size)
    outputs[f"kps_{stride}"][0, cell] = 0.25


def read(outputs):
    return faces(outputs, padded_width=SIDE, score=0.6, overlap=0.3)


def test_a_cell_becomes_a_box_in_pixels():
    """Cell 9 of the 8-pixel grid is column 1, row 1; its box is one cell around its middle."""
    outputs = silent_outputs()
    put_face(outputs, stride=8, cell=9)
    (face,) = read(outputs)
    assert face.box == pytest.approx((8, 8, 16, 16))
    assert face.score == pytest.approx(0.9)
    assert face.landmarks == ((10.0, 10.0),) * 5


def test_nobody_in_silence():
    """All zeros mean nobody, and so does a sure cell without an object."""
    outputs = silent_outputs()
    assert read(outputs) == []
    put_face(outputs, stride=16, cell=3, cls=1.0, obj=0.0)
    assert read(outputs) == []


def test_one_face_on_two_grids_is_one():
    """Neighbouring grids see the same face; the surer one is kept."""
    outputs = silent_outputs()
    put_face(outputs, stride=16, cell=0, cls=0.7, log_size=0.0)
    put_face(outputs, stride=8, cell=0, cls=0.9, log_size=float(np.log(2)))
    outputs["bbox_8"][0, 0, :2] = 1.0
    (face,) = read(outputs)
    assert face.score == pytest.approx(np.sqrt(0.9))


def test_a_missing_output_is_named():
    """Another network is not read as if it were this one."""
    outputs = silent_outputs()
    del outputs["obj_16"]
    with pytest.raises(InvalidInput, match="obj_16"):
        read(outputs)


def test_the_picture_is_padded_on_the_right_and_below():
    """Coordinates stay as they are."""
    picture = np.full((33, 40, 3), 7, np.uint8)
    tensor = prepare(picture, multiple_of=32)
    assert tensor.shape == (1, 3, 64, 64)
    assert tensor[0, :, :33, :40].min() == 7
    assert tensor[0, :, 33:, :].max() == 0
    with pytest.raises(InvalidInput, match="picture"):
        prepare(np.zeros((4, 4), np.uint8), multiple_of=32)


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(32, 1024))
def test_scaling_keeps_the_shape_and_never_enlarges(width: int, height: int, longest: int):
    """The longer side fits and no side vanishes."""
    w, h = scaled_size(width, height, longest=longest)
    assert 1 <= w <= width
    assert 1 <= h <= height
    assert max(w, h) <= max(longest, 1)


boxes = st.tuples(*[st.floats(-100, 100)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(boxes, boxes)
def test_overlap_is_a_share(a, b):
    """Symmetric, between 0 and 1."""
    share = intersection_over_union(a, b)
    assert 0 <= share <= 1 + 1e-9
    assert share == pytest.approx(intersection_over_union(b, a))


def test_the_manifest_is_typed_and_its_mistakes_are_named():
    """The shipped one reads; a digest cut short is named."""
    assert load_manifest().models["yunet"].licence == "MIT"
    with pytest.raises(InvalidInput) as caught:
        parse_manifest('[models.x]\nversion = "1"\n')
    assert caught.value.field.startswith("models.x.")


def test_a_check_finds_a_wrong_answer():
    """A model that answers otherwise, or not with numbers, is refused by output."""
    with pytest.raises(InvalidInput, match="cls_8"):
        check_means({"cls_8": np.array([0.5], np.float32)}, {"cls_8": 0.6})
    with pytest.raises(InvalidInput, match="cls_8"):
        check_means({"cls_8": np.array([np.nan], np.float32)}, {"cls_8": 0.6})
    check_means({"cls_8": np.array([0.6], np.float32)}, {"cls_8": 0.6})


def test_what_is_no_model_is_refused():
    """Any bytes give an error with a name, not a crash."""
    with pytest.raises(InvalidInput):
        normalise(b"not a model at all")
