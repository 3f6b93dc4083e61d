"""The face detector over ONNX Runtime: one thread, no spinning.

Measured: on a machine shared with recording, one thread per session is faster than two, and threads
that spin while they wait take the time from everybody else.
"""

from pathlib import Path

import numpy as np
import onnxruntime

from contracts.errors import Unavailable
from models import fetch
from models.face_detector import Face, Picture, faces, prepare, scaled_size

_MODEL = "yunet"


class OnnxFaceDetector:
    """Finds faces. Not for several threads at once."""

    def __init__(self, cache: Path) -> None:
        """Load the model from the folder it was fetched to.

        Raises:
            Unavailable: it was not fetched, is damaged, or the runtime refuses it.
        """
        self._entry = fetch.load_manifest().models[_MODEL]
        path = fetch.ready(cache, _MODEL)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:
            raise Unavailable(f"模型 {_MODEL} 无法加载 (cannot be loaded): {exc}") from exc
        self._outputs = [o.name for o in self._session.get_outputs()]

    @property
    def name(self) -> str:
        """Name and version, as facts carry it."""
        return f"{_MODEL} {self._entry.version}"

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """The size to which a picture is to be scaled before `faces`."""
        return scaled_size(width, height, longest=self._entry.input.longest_side)

    def faces(self, picture: Picture) -> list[Face]:
        """Faces in a picture (height × width × 3, BGR), surest first, in its pixels."""
        tensor = prepare(picture, multiple_of=self._entry.input.multiple_of)
        values = self._session.run(self._outputs, {self._entry.input.name: tensor})
        return faces(
            {n: np.asarray(v) for n, v in zip(self._outputs, values, strict=True)},
            padded_width=tensor.shape[3],
            score=self._entry.thresholds.score,
            overlap=self._entry.thresholds.overlap,
        )
