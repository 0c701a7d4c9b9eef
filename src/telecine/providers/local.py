"""The embedded models: what is said and what is written in a video, and how it is cut.

    local/report       speech, on-screen text and shots, with times
    local/transcribe   speech alone
    local/read         on-screen text alone

Of a sound file there is the speech, of an image the text.

No language model writes the answer, so a prompt picks parts, language, time range and form, and is
not otherwise followed (`local_prompt`); the log says so. Everything runs on this machine, in one
process of its own that is given sound and pictures only (`local_child`), one job at a time.

Usage: prompt tokens are the words of the prompt, completion tokens the words of the answer.
`by_modality` proves what was consumed: "video" is the number of frames looked at, "image" of
images, "audio" the seconds of sound listened to. It costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from telecine.errors import InputError, ProviderFailed, ProviderRejected, ProviderUnavailable
from telecine.models import (
    AUDIO_FORMATS,
    IMAGE_FORMATS,
    Audio,
    AudioChunk,
    Call,
    Capabilities,
    DecodedPart,
    Decoder,
    Delta,
    Image,
    Log,
    Part,
    ProviderEvent,
    Upstream,
    Usage,
    Video,
    Words,
)
from telecine.processes import ChildDied, ChildFailed
from telecine.providers import local_report
from telecine.providers import local_weights as weights
from telecine.providers.base import Health, Model
from telecine.providers.body import loc
from telecine.providers.catalog import FREE, Price
from telecine.providers.local_captions import Caption, Captions, Line
from telecine.providers.local_engine import Engine, Loaded
from telecine.providers.local_report import Form, MediumName, Meter, PartName, Said, Shots
from telecine.providers.local_wish import Span, Wish

_MODELS: Mapping[str, tuple[PartName, ...]] = {
    "report": ("speech", "text", "shots"),
    "transcribe": ("speech",),
    "read": ("text",),
}
_DESCRIPTIONS: Mapping[str, str] = {
    "report": "Speech, on-screen text and shots with their times, on this machine.",
    "transcribe": "Speech alone, on this machine.",
    "read": "On-screen text alone, on this machine.",
}
_PART_WORDS: Mapping[PartName, str] = {
    "speech": "speech",
    "text": "on-screen text",
    "shots": "shots",
}
_FOUND_IN: Mapping[MediumName, tuple[PartName, ...]] = {
    "video": ("speech", "text", "shots"),
    "image": ("text",),
    "audio": ("speech",),
}
_MISSING_IN: Mapping[MediumName, str] = {
    "video": "",
    "image": "an image has none",
    "audio": "a sound file has none",
}
_ENGINES: Mapping[PartName, tuple[str, ...]] = {
    "speech": ("faster_whisper", "onnxruntime"),
    "text": ("rapidocr", "onnxruntime"),
    "shots": (),
}

# Text is found on a small picture and read from this one; cuts need no pixels at all.
_FRAMES_PER_SECOND = 1.0
_READ_SIDE = 1280
_STILL_SIDE = 2048
_STILL_MIN_SCORE = 0.75
_CUT_SIDE = 64

_BYTES_PER_SECOND = 2 * 16000
_PROGRESS_SECONDS = 2.0
_CHECK_SECONDS = 4.5
_WORDS_SHOWN = 12


class Local:
    """A Provider. Its process starts with the first call and keeps the weights until closing."""

    def __init__(self, name: str, *, weights_dir: Path | None, threads: int) -> None:
        self.name = name
        self._weights_dir = weights_dir
        self._engine = Engine(weights_dir=weights_dir, threads=threads)
        self._checked: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._engine.close()

    async def capabilities(self, model: str) -> Capabilities:
        """Raises ProviderRejected also when the engines that `model` needs are not installed."""
        offered = self._offered(model)
        self._require(offered)
        return Capabilities(
            delivery=("decoded",),
            images=IMAGE_FORMATS if "text" in offered else (),
            audio=AUDIO_FORMATS if "speech" in offered else (),
        )

    async def generate(self, call: Call) -> AsyncGenerator[ProviderEvent, None]:
        offered = self._offered(call.model)
        wish = await asyncio.to_thread(_understood, call.prompt, offered)
        clips = [_clip(part, wish.parts) for part in call.parts]
        run = _Run(self._engine, call, wish, clips)
        if not clips:
            yield Delta(run.meter.take(_without_video(f"{self.name}/{call.model}", offered)))
        else:
            self._require(wish.parts)
            for note in _notes(call, wish):
                yield note
            if self._engine.is_busy:
                yield Log("waiting for the local model")
            async with self._engine.job():
                with self._translated(lambda: run.has_begun):
                    async with aclosing(run.events()) as events:
                        async for event in events:
                            yield event
        yield await run.usage()
        yield Upstream(
            model=" + ".join(run.models) or None,
            provider=self.name,
            finish_reason="length" if run.meter.is_full else "stop",
        )

    async def words(
        self, video: Video, decoder: Decoder, start: float, end: float | None
    ) -> tuple[Words, ...]:
        """What is said in `video` from `start` to `end`, for models that do not hear; so a Local is
        a Transcriber too. Raises ProviderError where there is no speech model."""
        self._require(("speech",))
        found: list[dict[str, Any]] = []
        with self._translated(lambda: bool(found)):
            async with self._engine.job():
                await self._engine.load("speech")
                await self._engine.listen(None)
                async with aclosing(_within(decoder.audio(video), Span(start, end))) as chunks:
                    async for chunk in chunks:
                        found += await self._engine.hear(chunk.seconds, chunk.pcm)
                found += await self._engine.hush()
        return tuple(Words(said["start"], said["end"], said["text"]) for said in found)

    async def price(self, model: str) -> Price | None:
        return FREE

    async def models(self) -> list[Model]:
        return [
            Model(
                id=model,
                name=f"Telecine {model}",
                input_modalities=("text", *_modalities(_MODELS[model])),
                price_prompt="0",
                price_completion="0",
                description=description,
            )
            for model, description in _DESCRIPTIONS.items()
        ]

    async def check(self) -> Health:
        """Whether engines and weights are there; hashes are compared the first time only."""
        fix = weights.INSTALL
        if missing := weights.engines_missing("faster_whisper", "rapidocr", "onnxruntime"):
            says = f"the embedded models are not installed: no {', '.join(missing)}"
            return Health(is_ok=False, says=says, fix=fix)
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                if self._checked is None:
                    self._checked = await asyncio.to_thread(self._check_weights)
        except TimeoutError:
            return Health(is_ok=True, says="the weights are there; comparing hashes takes long")
        except weights.WeightsMissing as error:
            return Health(is_ok=False, says=str(error), fix=fix)
        except weights.WeightsWrong as error:
            fix = "Remove that file's package or folder, then " + fix
            return Health(is_ok=False, says=str(error), fix=fix)
        return Health(is_ok=True, says=self._checked)

    def _check_weights(self) -> str:
        found = [weights.speech(self._weights_dir), weights.voice(), weights.text()]
        for one in found:
            weights.verify(one)
        return f"{found[0].says}; {found[2].says}; SHA-256 as published"

    def _offered(self, model: str) -> tuple[PartName, ...]:
        if model not in _MODELS:
            raise ProviderRejected(
                f"{self.name} has no model {model!r}; it has {', '.join(_MODELS)}",
                loc=("body", "model"),
                provider=self.name,
            )
        return _MODELS[model]

    def _require(self, parts: Iterable[PartName]) -> None:
        modules = dict.fromkeys(module for part in parts for module in _ENGINES[part])
        if missing := weights.engines_missing(*modules):
            raise ProviderRejected(
                f"The embedded models are not installed (no {', '.join(missing)}). "
                f"Run: {weights.INSTALL}",
                loc=("body", "model"),
                provider=self.name,
            )

    @contextmanager
    def _translated(self, has_begun: Callable[[], bool]) -> Iterator[None]:
        """The child's failures as ours. What was given sound or pictures is not tried again."""
        try:
            yield
        except ChildFailed as error:
            if error.kind == "weights":
                raise ProviderRejected(
                    str(error), loc=("body", "model"), provider=self.name
                ) from error
            raise ProviderFailed(f"The local model failed: {error}", provider=self.name) from error
        except ChildDied as error:
            says = f"The local model's process is gone: {error}"
            if has_begun():
                raise ProviderFailed(says, provider=self.name) from error
            raise ProviderUnavailable(says, provider=self.name) from error


@dataclass(frozen=True, slots=True)
class _Clip:
    """A medium, and which of the chosen parts can be found in it."""

    media: Video | Image | Audio
    decoder: Decoder
    parts: tuple[PartName, ...]

    @property
    def medium(self) -> MediumName:
        return _medium(self.media)

    @property
    def seconds(self) -> float | None:
        return None if isinstance(self.media, Image) else self.media.seconds


class _Run:
    """One call: its answer as it grows, and what was consumed for it."""

    def __init__(self, engine: Engine, call: Call, wish: Wish, clips: list[_Clip]) -> None:
        self.meter = Meter(call.max_tokens)
        self.models: list[str] = []
        self.has_begun = False
        self._engine = engine
        self._call = call
        self._wish = wish
        self._clips = clips
        media = [clip.medium for clip in clips]
        self._form: Form = local_report.form(wish.form, media=media, parts=wish.parts)
        self._frames = 0
        self._images = 0
        self._audio_bytes = 0

    async def usage(self) -> Usage:
        # A prompt of megabytes takes seconds to count: not in the event loop.
        words = await asyncio.to_thread(local_report.count, self._call.prompt)
        seconds = round(self._audio_bytes / _BYTES_PER_SECOND)
        consumed = {
            "text": words,
            "video": self._frames,
            "image": self._images,
            "audio": seconds,
        }
        return Usage(
            prompt_tokens=words,
            completion_tokens=self.meter.tokens,
            total_tokens=words + self.meter.tokens,
            cost=Decimal(0),
            cost_source="free",
            by_modality={name: amount for name, amount in consumed.items() if amount},
        )

    async def events(self) -> AsyncGenerator[Log | Delta, None]:
        """The answer, until it is complete or as long as it may be."""
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, Log):
                    yield piece
                elif fits := self.meter.take(piece):
                    yield Delta(fits)
                if self.meter.is_full:
                    return

    async def _pieces(self) -> AsyncGenerator[Log | str, None]:
        async for log in self._load():
            yield log
        yield self._form.open()
        numbers: Counter[MediumName] = Counter()
        for clip in self._clips:
            numbers[clip.medium] += 1
            several = len(self._clips) > 1
            label = f"{clip.medium} {numbers[clip.medium]}: " if several else ""
            yield self._form.begin(clip.seconds, clip.medium)
            span = self._wish.span.within(clip.seconds)
            if span is None and clip.medium != "image":
                yield Log(f"{label}its length is not known: all of it is used", "WARN")
            async with aclosing(self._found(clip, span or Span(), label)) as pieces:
                async for piece in pieces:
                    yield piece
            yield self._form.end()
        yield self._form.close()

    async def _load(self) -> AsyncIterator[Log]:
        parts = {part for clip in self._clips for part in clip.parts}
        if "speech" in parts:
            loaded = await self._engine.load("speech")
            self.models.append(f"{loaded.model} int8")
            yield _loaded(loaded)
        if "text" in parts:
            loaded = await self._engine.load("text")
            self.models.append(loaded.model)
            yield _loaded(loaded)

    async def _found(self, clip: _Clip, span: Span, label: str) -> AsyncGenerator[Log | str, None]:
        """Speech first: it takes a tenth of the time that reading every second's frame takes.

        Both at once would take as long in all, since each keeps every core busy.
        """
        self.has_begun = True
        media, parts = clip.media, clip.parts
        for part in self._wish.parts if not parts else ():
            yield self._form.nothing(part, _MISSING_IN[clip.medium])
        if clip.seconds is not None and span.start >= clip.seconds > 0:
            ends = f"it ends at {clip.seconds:.1f} s"
            yield Log(f"{label}{ends}, before the time range: nothing of it is used", "WARN")
            for part in parts:
                yield self._form.nothing(part, f"none, {ends}")
            return
        if "speech" in parts and not isinstance(media, Image):
            async with aclosing(self._speech(media, clip.decoder, span, label)) as pieces:
                async for piece in pieces:
                    yield piece
        if isinstance(media, Image) and "text" in parts:
            yield await self._still(media, clip.decoder)
        elif isinstance(media, Video) and not {"text", "shots"}.isdisjoint(parts):
            async with aclosing(self._pictures(media, clip.decoder, span, label)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _still(self, image: Image, decoder: Decoder) -> str:
        """What is written in an image, line by line from the top."""
        await self._engine.look()
        frame = await decoder.picture(image, max_side=_STILL_SIDE)
        self._images += 1
        found = await self._engine.read(frame.width, frame.height, frame.rgb)
        lines = [line for line in found or () if line["score"] >= _STILL_MIN_SCORE]
        captions = [Caption(0.0, 0.0, (line["text"],)) for line in lines]
        if not captions:
            return self._form.nothing("text", "none found")
        return "".join(map(self._form.caption, captions))

    async def _speech(
        self, media: Video | Audio, decoder: Decoder, span: Span, label: str
    ) -> AsyncGenerator[Log | str, None]:
        if isinstance(media, Video) and not media.has_audio:
            yield self._form.nothing("speech", "no audio track")
            return
        progress = _Progress(f"{label}speech: {{done:.0f}}{_of(media, span)} s")
        has_spoken = False
        await self._engine.listen(self._wish.language)
        async with aclosing(_within(decoder.audio(media), span)) as chunks:
            async for chunk in chunks:
                self._audio_bytes += len(chunk.pcm)
                for said in self._said(await self._engine.hear(chunk.seconds, chunk.pcm)):
                    has_spoken = True
                    yield self._form.said(said)
                if log := progress.at(chunk.seconds + len(chunk.pcm) / _BYTES_PER_SECOND):
                    yield log
        for said in self._said(await self._engine.hush()):
            has_spoken = True
            yield self._form.said(said)
        if not has_spoken:
            only = f" in {self._wish.language}" if self._wish.is_filter else ""
            yield self._form.nothing("speech", f"none found{only}")

    def _said(self, answers: Iterable[dict[str, Any]]) -> Iterator[Said]:
        for answer in answers:
            said = Said(**answer)
            if not self._wish.is_filter or said.language == self._wish.language:
                yield said

    async def _pictures(
        self, video: Video, decoder: Decoder, span: Span, label: str
    ) -> AsyncGenerator[Log | str, None]:
        parts = self._wish.parts
        if video.video_codec is None:
            for name in ("text", "shots"):
                if name in parts:
                    yield self._form.nothing(name, "no video track")
            return
        cuts: list[float] = []
        has_text = False
        async with aclosing(self._looked_at(video, decoder, span, label, cuts)) as findings:
            async for found in findings:
                has_text = has_text or isinstance(found, Caption)
                yield self._form.caption(found) if isinstance(found, Caption) else found
        if "text" in parts and not has_text:
            yield self._form.nothing("text", "none found")
        if "shots" in parts:
            yield self._form.shots(Shots(tuple(cuts)))

    async def _looked_at(
        self, video: Video, decoder: Decoder, span: Span, label: str, cuts: list[float]
    ) -> AsyncGenerator[Log | Caption, None]:
        """Captions as they end; `cuts` is filled on the way."""
        progress = _Progress(f"{label}pictures: {{done:.0f}}{_of(video, span)} s")
        captions = Captions(1 / _FRAMES_PER_SECOND)
        is_read = "text" in self._wish.parts
        if is_read:
            await self._engine.look()
        frames = decoder.frames(
            video, fps=_FRAMES_PER_SECOND, max_side=_READ_SIDE if is_read else _CUT_SIDE
        )
        async with aclosing(frames) as pictures:  # type: ignore[type-var]
            async for frame in pictures:
                cuts += [cut for cut in frame.cuts if span.covers(cut) and cut > span.start]
                if not span.covers(frame.seconds):
                    if frame.seconds > span.start:
                        break
                    continue
                self._frames += 1
                if is_read:
                    found = await self._engine.read(frame.width, frame.height, frame.rgb)
                    lines = None if found is None else [Line(**line) for line in found]
                    for caption in captions.see(frame.seconds, lines):
                        yield caption
                if log := progress.at(frame.seconds):
                    yield log
        for caption in captions.finish():
            yield caption


class _Progress:
    """A line for the log every two seconds."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._clock = asyncio.get_running_loop().time
        self._told = self._clock()

    def at(self, done: float) -> Log | None:
        if self._clock() - self._told < _PROGRESS_SECONDS:
            return None
        self._told = self._clock()
        return Log(self._line.format(done=done))


async def _within(
    chunks: AsyncIterator[AudioChunk], span: Span
) -> AsyncGenerator[AudioChunk, None]:
    """The sound of `span`, cut to the sample."""
    async with aclosing(chunks) as all_chunks:  # type: ignore[type-var]
        async for chunk in all_chunks:
            end = chunk.seconds + len(chunk.pcm) / _BYTES_PER_SECOND
            if end <= span.start:
                continue
            if span.end is not None and chunk.seconds >= span.end:
                return
            since = max(chunk.seconds, span.start)
            until = end if span.end is None else min(end, span.end)
            pcm = chunk.pcm[_bytes(since - chunk.seconds) : _bytes(until - chunk.seconds)]
            if pcm:
                yield AudioChunk(since, pcm)


def _bytes(seconds: float) -> int:
    return 2 * round(seconds * _BYTES_PER_SECOND / 2)


def _of(media: Video | Audio, span: Span) -> str:
    end = media.seconds if span.end is None else min(span.end, media.seconds or span.end)
    return "" if end is None else f" of {end:.0f}"


def _loaded(loaded: Loaded) -> Log:
    took = f"loaded in {loaded.seconds:.1f} s" if loaded.seconds else "in memory"
    return Log(f"{loaded.model} from {loaded.source}, SHA-256 as published, {took}")


def _clip(part: Part, chosen: Iterable[PartName]) -> _Clip:
    if not isinstance(part, DecodedPart):
        raise InputError("The embedded models take files only, no links", loc=loc(part))
    found_in = _FOUND_IN[_medium(part.media)]
    return _Clip(part.media, part.decoder, tuple(name for name in chosen if name in found_in))


def _medium(media: Video | Image | Audio) -> MediumName:
    match media:
        case Video():
            return "video"
        case Image():
            return "image"
        case Audio():
            return "audio"


def _modalities(parts: Iterable[PartName]) -> list[str]:
    parts = set(parts)
    return [name for name, found in _FOUND_IN.items() if not parts.isdisjoint(found)]


def _understood(prompt: str, offered: Iterable[PartName]) -> Wish:
    """For a thread: the first call makes the tables of words, which takes a while."""
    from telecine.providers.local_prompt import understand

    return understand(prompt, offered)


def _without_video(model: str, parts: Iterable[PartName]) -> str:
    what = _listed(_PART_WORDS[part] for part in parts)
    return (
        f"No video was given. {model} describes videos ({what}) and answers no other questions. "
        "Name at least one video in video_urls."
    )


def _notes(call: Call, wish: Wish) -> Iterator[Log]:
    """What is done with the request, and what of it is not."""
    chosen = _listed(_PART_WORDS[part] for part in wish.parts)
    if wish.left:
        words = ", ".join(f'"{word}"' for word in wish.left[:_WORDS_SHOWN])
        more = ", ..." if len(wish.left) > _WORDS_SHOWN else ""
        yield Log(
            "The embedded models do not follow prompts: a prompt only chooses parts, language, "
            f"time range and form. Chosen: {chosen}, as {wish.form}. Not understood: "
            f"{words}{more}. To have questions answered, ask a vision model.",
            "WARN",
        )
    else:
        yield Log(f"chosen by the prompt: {chosen}, as {wish.form}")
    settings = {
        "system_prompt": call.system_prompt,
        "temperature": call.temperature,
        "reasoning": call.reasoning or None,
    }
    if ignored := [name for name, value in settings.items() if value is not None]:
        yield Log(f"The embedded models have no use for {_listed(ignored)}: ignored", "WARN")


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
