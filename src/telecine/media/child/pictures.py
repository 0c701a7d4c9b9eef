"""Pictures for people and encoders: scaled, upright, in the colours that every player knows."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter


class Shaper:
    """Makes frames upright and of one size. `max_side` None: as large as they are."""

    def __init__(self, max_side: int | None, *, for_jpeg: bool = False) -> None:
        self._max_side = max_side
        # JPEG's numbers go from black to white, a video's keep a margin at both ends; and JPEG
        # knows one way to tell colours, where a video says which is its own.
        self._format = "yuvj420p" if for_jpeg else "yuv420p"
        self._range = ColorRange.JPEG if for_jpeg else ColorRange.MPEG
        self._colours = Colorspace.ITU601 if for_jpeg else None
        self._reformatter = VideoReformatter()
        self._stored: tuple[int, int] | None = None

    def shape(self, frame: VideoFrame) -> VideoFrame:
        """All frames as large as the first. Raises FFmpegError."""
        turns = round(frame.rotation / 90) % 4
        if self._stored is None:
            self._stored = _size(frame, self._max_side)
        small = self._reformatter.reformat(
            frame,
            *self._stored,
            self._format,
            dst_colorspace=self._colours,
            dst_color_range=self._range,
            threads=1,
        )
        return _turned(small, turns, self._format) if turns else small


def _size(frame: VideoFrame, max_side: int | None) -> tuple[int, int]:
    """Even: colours are stored for squares of four pixels."""
    scale = min(1.0, max_side / max(frame.width, frame.height)) if max_side else 1.0
    return _even(frame.width * scale), _even(frame.height * scale)


def _even(side: float) -> int:
    return max(2, 2 * int(side / 2 + 1e-6))  # never more than was allowed


def _turned(frame: VideoFrame, turns: int, name: str) -> VideoFrame:
    """Counterclockwise, by quarters: `rotation` is, and so is rot90."""
    width, height = frame.width, frame.height
    flat = frame.to_ndarray().reshape(-1)
    luma, blue, red = np.split(flat, [width * height, width * height * 5 // 4])
    planes = (
        luma.reshape(height, width),
        blue.reshape(height // 2, width // 2),
        red.reshape(height // 2, width // 2),
    )
    sides = [np.rot90(plane, turns) for plane in planes]
    across = sides[0].shape[1]
    stacked = np.concatenate([side.reshape(-1) for side in sides]).reshape(-1, across)
    turned = VideoFrame.from_ndarray(stacked, format=name)
    turned.colorspace, turned.color_range = frame.colorspace, frame.color_range
    return turned
