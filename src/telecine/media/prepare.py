"""Does what a plan says: cuts, samples, scales and re-encodes, and gives the parts of a call.

Bytes are worked on in the decoder pool; what comes of it goes to the request's own temporary files,
and the same work on the same video is done once in a request, however many calls it makes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from telecine.errors import InputError, ProviderError
from telecine.media.forms import Sampling, Transform
from telecine.media.plan import Plan, VideoPlan
from telecine.media.pool import Mp4, Pool
from telecine.media.sources import Held
from telecine.media.spool import SpoolFile
from telecine.media.view import Window
from telecine.models import (
    Audio,
    AudioPart,
    DecodedPart,
    Decoder,
    FilePart,
    FramesPart,
    Image,
    ImagePart,
    LinkPart,
    Log,
    Media,
    MediaName,
    Part,
    Pdf,
    PdfPart,
    Prepared,
    Still,
    Video,
    View,
    Words,
)

_SHORT_SECONDS = 1.0  # how much of a video may be missing at its end before that is said
_COPY_BYTES = 1024 * 1024
_MAX_WORDS_SHARE = 0.25  # of the model's window
_BYTES_PER_TOKEN = 4


@runtime_checkable
class Transcriber(Protocol):
    """Writes down what is said in a video."""

    async def words(
        self, video: Video, decoder: Decoder, start: float, end: float | None
    ) -> tuple[Words, ...]:
        """What is said from `start` to `end`, in order. Raises ProviderError where that cannot be
        told, as when there are no weights."""
        ...


class Preparer:
    """Prepares for all requests; holds no state between them. `transcriber` None: there is none."""

    def __init__(self, pool: Pool, transcriber: Transcriber | None = None) -> None:
        self._pool = pool
        self._transcriber = transcriber

    async def parts(
        self,
        plan: Plan,
        names: Sequence[MediaName],
        media: Sequence[Media],
        links: Sequence[LinkPart],
        held: Held,
    ) -> AsyncIterator[Log | Part]:
        """Log lines as there is something to say, then one part per name, in the order of `names`.

        Each is among the `media` or the `links`, and each video is in the plan. Raises
        UnsupportedMedia at the loc of what cannot be worked on, and LimitReached from the spool.
        """
        found = {medium.loc: medium for medium in media}
        passed = {link.loc: link for link in links}
        planned = {video.loc: video for video in plan.videos}
        parts: list[Part] = []
        for name in names:
            video, medium = planned.get(name.loc), found.get(name.loc)
            if video is None:
                assert medium is not None, "a name is of a medium or of a video in the plan"
                parts.append(_plain(medium, plan, held))
                continue
            work = _Work(self, plan, video, held, _label(name, names))
            if video.form == "link":
                parts.append(passed[name.loc])
            elif video.form == "url":
                assert isinstance(medium, Video)
                parts.append(LinkPart(name.text.strip(), name.loc, video.view, medium))
            else:
                assert isinstance(medium, Video)
                async for item in work.part(medium):
                    if isinstance(item, Log):
                        yield item
                    else:
                        parts.append(item)
        for part in parts:
            yield part

    async def mp4(self, video: Video, transform: Transform, held: Held) -> Prepared:
        """The video worked on, once in a request."""
        return await held.once((video.sha256, transform), lambda: self._mp4(video, transform, held))

    async def stills(self, video: Video, sampling: Sampling, held: Held) -> tuple[Still, ...]:
        """As many as can be had, once in a request."""
        key = (video.sha256, replace(sampling, with_words=False))
        return await held.once(key, lambda: self._stills(video, sampling, held))

    async def words(
        self, video: Video, start: float, end: float | None, held: Held
    ) -> tuple[Words, ...]:
        """What is said in it, once in a request. Raises ProviderError where nobody can tell."""
        if self._transcriber is None:
            raise ProviderError("no speech model is installed here")
        transcriber = self._transcriber
        return await held.once(
            (video.sha256, "words", start, end),
            lambda: transcriber.words(video, held.decoder, start, end),
        )

    async def _mp4(self, video: Video, transform: Transform, held: Held) -> Prepared:
        """The beginning of the file comes last, so it is written twice: as it comes, and in
        order."""
        rest = held.file()
        try:
            end: Mp4 | None = None
            async with aclosing(self._pool.transcode(video, transform)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if isinstance(piece, Mp4):
                        end = piece
                    elif piece.is_void:
                        rest.discard()
                        rest = held.file()
                    else:
                        rest.write(piece.data)
            assert end is not None, "a task ends with its answer or an error"
            rest.close()
            file = held.file()
            await _join(file, end.beginning, rest)
        finally:
            rest.discard()
        return Prepared(
            path=file.path,
            bytes=file.bytes,
            sha256=file.sha256,
            mime="video/mp4",
            container="mp4",
            seconds=end.seconds,
            width=end.width,
            height=end.height,
            fps=end.fps,
            has_audio=end.has_audio,
            start=transform.start or 0.0,
        )

    async def _stills(self, video: Video, sampling: Sampling, held: Held) -> tuple[Still, ...]:
        found: list[Still] = []
        async with aclosing(self._pool.stills(video, sampling)) as taken:  # type: ignore[type-var]
            async for still in taken:
                file = held.file()
                file.write(still.jpeg)
                file.close()
                found.append(Still(still.seconds, file.path, file.bytes, still.width, still.height))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Work:
    """One video of a plan, on its way to a part."""

    preparer: Preparer
    plan: Plan
    video: VideoPlan
    held: Held
    label: str

    async def part(self, medium: Video) -> AsyncIterator[Log | Part]:
        match self.video.form:
            case "decoded":
                if self.video.view.audio is False and medium.has_audio:
                    yield Log(f"{self.label}: its sound is left out, as asked")
                yield DecodedPart(medium, _windowed(self.held.decoder, medium, self.video.view))
            case "frames":
                async for item in self._frames(medium):
                    yield item
            case _:
                async for item in self._file(medium):
                    yield item

    async def _file(self, medium: Video) -> AsyncIterator[Log | Part]:
        transform = self.video.transform
        if transform is None:
            yield FilePart(medium, self.video.view)
            return
        yield Log(f"{self.label}: {', '.join(self.video.why) or 'is made an mp4'}")
        made = await self.preparer.mp4(medium, transform, self.held)
        sound = "with sound" if made.has_audio else "without sound"
        yield Log(
            f"{self.label}: made an mp4 of {_seconds(made.seconds)}, {made.width}x{made.height}, "
            f"{made.bytes} bytes, {sound}"
        )
        wanted = _length(self.video)
        reached = wanted if made.seconds is None else made.seconds
        if wanted is not None and reached is not None and reached < wanted - _SHORT_SECONDS:
            yield self._breaks_off(reached, wanted)
        if medium.has_audio and not transform.without_audio and not made.has_audio:
            yield Log(f"{self.label}: there is no sound in that stretch", "WARN")
        yield FilePart(medium, self.video.view, made)

    async def _frames(self, medium: Video) -> AsyncIterator[Log | Part]:
        sampling = self.video.sampling
        assert sampling is not None, "stills are planned with their times"
        stills = await self.preparer.stills(medium, sampling, self.held)
        yield Log(
            f"{self.label}: {len(stills)} stills of {stills[0].width}x{stills[0].height}, "
            f"{sampling.fps:.3g} a second"
        )
        if len(stills) < len(sampling.times):
            yield self._breaks_off(stills[-1].seconds, sampling.times[-1])
        words: tuple[Words, ...] = ()
        if sampling.with_words:
            try:
                words = await self._words(medium)
            except ProviderError as error:
                yield self._unheard(error)
            else:
                words, log = self._fitting(words)
                yield log
        yield FramesPart(medium, stills, words, sampling.fps)

    async def _words(self, medium: Video) -> tuple[Words, ...]:
        """Those of a long video are written down once, for all its stretches."""
        start, end = self.plan.basis.stretch_of or (self.video.start, self.video.end)
        all_of_it = await self.preparer.words(medium, start, end, self.held)
        until = math.inf if self.video.end is None else self.video.end
        return tuple(w for w in all_of_it if w.end > self.video.start and w.start < until)

    def _unheard(self, error: ProviderError) -> Log:
        """Raises InputError where the caller insists on the sound."""
        basis = self.plan.basis
        says = f"what is said in it is not sent along: {error.message}"
        if basis.strict and basis.view.audio is True:
            raise InputError(
                f"{self.label}: {says}", loc=("body", "audio"), type="feature_not_supported"
            ) from error
        return Log(f"{self.label}: {says}", "WARN")

    def _fitting(self, words: tuple[Words, ...]) -> tuple[tuple[Words, ...], Log]:
        """No more than a quarter of the window: the beginning, as long as there is room."""
        window = self.plan.basis.capabilities.context_tokens
        spoken = sum(len(said.text.split()) for said in words)
        if window is None:
            return words, Log(f"{self.label}: {spoken} words of transcript")
        room, kept = int(_MAX_WORDS_SHARE * window * _BYTES_PER_TOKEN), list[Words]()
        for said in words:
            room -= len(said.text.encode()) + _BYTES_PER_TOKEN
            if room < 0:
                says = f"of its transcript only the first {len(kept)} of {len(words)} lines fit"
                return tuple(kept), Log(f"{self.label}: {says}", "WARN")
            kept.append(said)
        return words, Log(f"{self.label}: {spoken} words of transcript")

    def _breaks_off(self, reached: float, wanted: float) -> Log:
        return Log(
            f"{self.label}: it cannot be decoded beyond {reached:g} s of {wanted:g} s: the rest is "
            "missing from what is sent",
            "WARN",
        )


def _plain(medium: Media, plan: Plan, held: Held) -> Part:
    """An image, a sound or a document, as it is."""
    match medium:
        case Pdf():
            return PdfPart(medium)
        case Image() | Audio() if plan.basis.capabilities.is_decoded:
            return DecodedPart(medium, held.decoder)
        case Image():
            return ImagePart(medium)
        case Audio():
            return AudioPart(medium)
    raise TypeError(f"{type(medium).__name__} is no medium that is sent as it is")


def _windowed(decoder: Decoder, video: Video, view: View) -> Decoder:
    """A decoder that sees no more of the video than was asked for."""
    return decoder if view == View() else Window(decoder, view, video.seconds)


async def _join(file: SpoolFile, beginning: bytes, rest: SpoolFile) -> None:
    file.write(beginning)
    with rest.path.open("rb") as source:
        while chunk := await asyncio.to_thread(source.read, _COPY_BYTES):
            file.write(chunk)
    file.close()


def _length(video: VideoPlan) -> float | None:
    return None if video.end is None else video.end - video.start


def _label(name: MediaName, names: Sequence[MediaName]) -> str:
    several = sum(each.kind == "video" for each in names) > 1 or name.index
    return f"video {name.index + 1}" if several else "video"


def _seconds(seconds: float | None) -> str:
    return "unknown length" if seconds is None else f"{seconds:.1f} s"
