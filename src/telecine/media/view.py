"""What of a video an embedded model gets to see and hear, when less than all was asked for."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from telecine.media.budget import SIDES
from telecine.models import Audio, AudioChunk, Decoder, Frame, Image, Video, View

_BYTES_PER_SECOND = 2 * 16_000


class Window:
    """A `models.Decoder` through which a video is what `view` says; times stay those of the clip.
    `seconds`: how long it is, if that is known."""

    def __init__(self, decoder: Decoder, view: View, seconds: float | None) -> None:
        self._decoder = decoder
        self._view = view
        self._start = view.start or 0.0
        self._end = math.inf if view.end is None else view.end
        self._seconds = min(seconds or self._end, self._end) - self._start

    async def audio(self, media: Video | Audio) -> AsyncIterator[AudioChunk]:
        """See `models.Decoder`. Nothing where the sound is to be left out."""
        if self._view.audio is False:
            return
        async with aclosing(self._decoder.audio(media)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if chunk.seconds >= self._end:
                    return
                if cut := self._cut(chunk):
                    yield cut

    async def picture(self, image: Image, *, max_side: int) -> Frame:
        """See `models.Decoder`."""
        return await self._decoder.picture(image, max_side=max_side)

    async def frames(self, video: Video, *, fps: float, max_side: int) -> AsyncIterator[Frame]:
        """See `models.Decoder`. No more frames a second, and in all, than were asked for."""
        rate = fps if self._view.fps is None else self._view.fps
        most = self._view.max_frames
        if most is not None and math.isfinite(self._seconds) and self._seconds > 0:
            rate = min(rate, most / self._seconds)
        if self._view.resolution is not None:
            max_side = min(max_side, SIDES[self._view.resolution])
        given = 0
        async with aclosing(
            self._decoder.frames(video, fps=rate, max_side=max_side)  # type: ignore[type-var]
        ) as frames:
            async for frame in frames:
                if frame.seconds >= self._end or (most is not None and given >= most):
                    return
                if frame.seconds >= self._start:
                    given += 1
                    yield replace(frame, cuts=tuple(c for c in frame.cuts if c > self._start))

    def _cut(self, chunk: AudioChunk) -> AudioChunk | None:
        """The sound of the window, cut to the sample."""
        end = chunk.seconds + len(chunk.pcm) / _BYTES_PER_SECOND
        since, until = max(chunk.seconds, self._start), min(end, self._end)
        pcm = chunk.pcm[_bytes(since - chunk.seconds) : _bytes(until - chunk.seconds)]
        return AudioChunk(since, pcm) if until > since and pcm else None


def _bytes(seconds: float) -> int:
    return 2 * round(seconds * _BYTES_PER_SECOND / 2)
