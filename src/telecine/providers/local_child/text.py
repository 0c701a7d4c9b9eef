"""Reading: which frames are worth a look, and the lines of text in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import omegaconf
import onnxruntime
import rapidocr
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

# The mean over the picture misses small captions that fade in; the greatest difference anywhere
# on a picture 8 times smaller finds them.
_SHRINK = 8
_CHANGE = 24

# Finding text needs few pixels; reading it takes them from the frame as it came.
_DETECT_SIDE = 640


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; `top` and `left` are in parts of the frame's height and width."""

    text: str
    score: float
    top: float
    left: float


class Gate:
    """Tells whether a frame looks different from the last one that did."""

    def __init__(self) -> None:
        self._seen: NDArray[np.float32] | None = None

    def is_new(self, picture: Pixels) -> bool:
        small = _shrink(picture)
        seen, self._seen = self._seen, small
        if seen is None or seen.shape != small.shape:
            return True
        if float(np.abs(small - seen).max()) > _CHANGE:
            return True
        self._seen = seen  # what changes slowly is compared with how it began
        return False


class Reader:
    """PP-OCR, loaded from memory once and kept."""

    def __init__(self, models: Mapping[str, bytes], *, threads: int) -> None:
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.use_cls": False,
                "Det.limit_type": "max",
                "Det.limit_side_len": _DETECT_SIDE,
            }
        )
        with omegaconf.flag_override(self._engine.cfg, "allow_objects", values=True):
            config = self._engine.cfg
            config.Det.session = _session(models["PP-OCRv6_det_small.onnx"], threads)
            config.Rec.session = _session(models["PP-OCRv6_rec_small.onnx"], threads)
        self.read(np.zeros((32, 32, 3), np.uint8))  # sets up the rest now, not at the first frame

    def read(self, picture: Pixels) -> list[Line]:
        """The lines, from top to bottom and left to right."""
        height, width = picture.shape[:2]
        found: Any = self._engine(np.ascontiguousarray(picture[..., ::-1]))
        lines = [
            Line(
                text=text.strip(),
                score=float(score),
                top=round(float(box[:, 1].min()) / height, 3),
                left=round(float(box[:, 0].min()) / width, 3),
            )
            for text, score, box in zip(
                found.txts or (),
                found.scores or (),
                () if found.boxes is None else found.boxes,
                strict=True,
            )
        ]
        return [line for line in lines if line.text]


def _session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """One whose threads sleep while they wait: spinning is seven times slower on a busy machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def picture(rgb: bytes, width: int, height: int) -> Pixels:
    return np.frombuffer(rgb, np.uint8).reshape(height, width, 3)


def _shrink(picture: Pixels) -> NDArray[np.float32]:
    """Every pixel the mean of 8 x 8, each colour for itself; a rest at the edges does not count."""
    height, width = picture.shape[:2]
    step = min(_SHRINK, height, width)
    rows, columns = height // step, width // step
    blocks = picture[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    small: NDArray[np.float32] = blocks.mean((1, 3), dtype=np.float32)
    return small
