"""Where one shot ends and the next begins, found while frames pass by.

Every frame is shrunk to 64x36. A cut is a difference to the frame before that is large, far larger
than those around it (so that motion does not count), changes the colours as a whole (so that a
moving camera does not count) and lasts (so that a flash does not count, neither of its edges).
Dissolves and fades are not cuts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

_WIDTH, _HEIGHT = 64, 36
_WINDOW = 4  # frames looked at on either side
_DIFFERENCE = 7.0  # mean change per pixel and channel, of 255
_RATIO = 2.5  # to the mean of the window around it
_COLOURS = 0.25  # share of the pixels that changed colour
_FLASH = 0.5  # of the cut's difference: pictures nearer than this are of one shot

_Small = npt.NDArray[np.int16]


@dataclass(slots=True)
class _Step:
    """One frame, and how far it is from the one before."""

    seconds: float
    small: _Small
    difference: float


class CutDetector:
    """Feed every frame with `see`; each call tells the cuts it settled, and up to when.

    A cut is known only a few frames later: up to `settled`, a time, nothing more will be found.
    """

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque(maxlen=2 * _WINDOW + 1)
        self._seen = 0
        self._shrink = VideoReformatter()
        self.settled = -1.0

    def see(self, seconds: float, frame: VideoFrame) -> list[float]:
        small = self._small(frame)
        before = self._steps[-1].small if self._steps else small
        return self._take(_Step(seconds, small, float(np.abs(small - before).mean())))

    def finish(self) -> list[float]:
        """The cuts among the last frames, judged by what there is of a window."""
        found = []
        for _ in range(_WINDOW if self._steps else 0):
            last = self._steps[-1]
            found += self._take(_Step(last.seconds, last.small, 0.0))
        return found

    def _take(self, step: _Step) -> list[float]:
        self._steps.append(step)
        self._seen += 1
        if self._seen <= _WINDOW:
            return []
        middle = len(self._steps) - 1 - _WINDOW
        judged = self._steps[middle]
        self.settled = judged.seconds
        return [judged.seconds] if self._is_cut(middle) else []

    def _is_cut(self, at: int) -> bool:
        steps = self._steps
        step = steps[at]
        if at == 0 or step.difference < _DIFFERENCE:
            return False
        around = [other.difference for i, other in enumerate(steps) if i != at]
        if step.difference < _RATIO * sum(around) / len(around):
            return False
        near = [steps[i].difference for i in range(max(0, at - 2), min(len(steps), at + 3))]
        if step.difference < max(near):
            return False
        before = steps[at - 1].small
        if _colours_changed(before, step.small) < _COLOURS:
            return False
        returns = [(steps[at + n].small, before) for n in (1, 2, 3)]
        returns += [(steps[at - n].small, step.small) for n in (2, 3, 4) if n <= at]
        return all(
            float(np.abs(one - other).mean()) >= _FLASH * step.difference for one, other in returns
        )

    def _small(self, frame: VideoFrame) -> _Small:
        picture = self._shrink.reformat(
            frame, _WIDTH, _HEIGHT, "yuv444p", interpolation=Interpolation.FAST_BILINEAR, threads=1
        )
        return picture.to_ndarray().astype(np.int16)


def _colours_changed(before: _Small, after: _Small) -> float:
    """The part of the pixels whose colour the other picture has no pixel for."""
    return float(np.abs(_histogram(before) - _histogram(after)).sum()) / (2 * _WIDTH * _HEIGHT)


def _histogram(small: _Small) -> npt.NDArray[np.int64]:
    """16 levels of light times 8 by 8 of colour."""
    y, u, v = small >> 4, small >> 5, small >> 5
    return np.bincount(((y[0] << 6) | (u[1] << 3) | v[2]).ravel(), minlength=1024)
