"""The parent's side of decoding: a few warm processes, and one job in each at a time.

Strangers' bytes are opened nowhere else. A file that crashes its process, blows up its memory or
hangs fails its own job, with a reason, and costs the others a process start.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from telecine.errors import Cancelled, Loc, TelecineError, UnsupportedMedia
from telecine.media.forms import Sampling, Transform
from telecine.models import (
    AUDIO_FORMATS,
    IMAGE_FORMATS,
    Audio,
    AudioChunk,
    Frame,
    Image,
    Video,
)
from telecine.processes import (
    Child,
    ChildDied,
    ChildFailed,
    ChildStuck,
    Message,
    environment,
)

log = logging.getLogger(__name__)

SUPPORTED_FORMATS = ("mp4", "mpeg", "mov", "webm")

_MODULE = "telecine.media.child"
_IDLE_SECONDS = 60.0
_PING_SECONDS = 5.0
_JOBS_PER_CHILD = 200  # FFmpeg leaks a little, and heaps fragment


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a file is, seen from inside: the container is told by content, never by name.

    `seconds` is what can be played; `width` and `height` are of the upright picture, which is
    stored turned by `rotation` degrees. `warnings` are sentences for the receipt.
    """

    container: str
    mime: str
    seconds: float | None
    width: int
    height: int
    fps: float | None
    rotation: int
    video_codec: str
    audio_codec: str | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProbe:
    """What an image is: `format` is one of models.IMAGE_FORMATS."""

    format: str
    mime: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioProbe:
    """What a sound file is: `format` is one of models.AUDIO_FORMATS."""

    format: str
    mime: str
    seconds: float | None
    codec: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StillTaken:
    """A JPEG of what is on the screen at `seconds`."""

    seconds: float
    width: int
    height: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an mp4 that is being made. `is_void`: whatever came before is to be forgotten."""

    data: bytes = b""
    is_void: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mp4:
    """The end of making one: what it came to, and the bytes that go before all the pieces."""

    beginning: bytes
    seconds: float
    width: int
    height: int
    fps: float | None
    has_audio: bool


class Pool:
    """A `models.Decoder`, and the probes. Its processes start on first use and go after a minute.

    `size` jobs decode at once and as many files are probed, so that a long video keeps no new
    request waiting; the rest queue in the order they came. A job's process may hold
    `memory_bytes`, use `cpu_seconds` of processor time, and be silent for `stall_seconds`.

    A job begins when its iterator is first asked and holds its process until the iterator ends or
    is closed; so do not hold one open while waiting for another of the same pool.
    """

    def __init__(
        self, *, size: int, memory_bytes: int, cpu_seconds: int, stall_seconds: float = 60.0
    ) -> None:
        limits = _Limits(memory_bytes, cpu_seconds, stall_seconds)
        self._probers = _Lane(size, limits)
        self._decoders = _Lane(size, limits)

    async def __aenter__(self) -> Self:
        self._probers.open()
        self._decoders.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._decoders.close()
        await self._probers.close()

    async def probe(self, path: Path) -> Probe:
        """Look into a video; its first frame was really decoded. Raises UnsupportedMedia."""
        facts, _ = await _only(self._probers.run({"task": "probe", "path": str(path)}), "probe")
        return Probe(**{**facts, "warnings": tuple(facts["warnings"])})

    async def probe_image(self, path: Path) -> ImageProbe:
        """As `probe`, into an image."""
        with _about("image", IMAGE_FORMATS):
            task = {"task": "image", "path": str(path)}
            facts, _ = await _only(self._probers.run(task), "image")
        return ImageProbe(**facts)

    async def probe_audio(self, path: Path) -> AudioProbe:
        """As `probe`, into a sound file: some of it was really decoded."""
        with _about("audio", AUDIO_FORMATS):
            task = {"task": "sound", "path": str(path)}
            facts, _ = await _only(self._probers.run(task), "sound")
        return AudioProbe(**{**facts, "warnings": tuple(facts["warnings"])})

    async def audio(self, media: Video | Audio) -> AsyncIterator[AudioChunk]:
        """See `models.Decoder`. Raises UnsupportedMedia at the medium's loc."""
        name = "listen" if isinstance(media, Audio) else "audio"
        task = {"task": name, "path": str(media.path)}
        async with aclosing(self._decoders.run(task, media.loc)) as answers:
            async for head, pcm in answers:
                if "audio" in head:
                    yield AudioChunk(head["audio"], pcm)

    async def picture(self, image: Image, *, max_side: int) -> Frame:
        """See `models.Decoder`. Raises UnsupportedMedia at the image's loc."""
        task = {"task": "picture", "path": str(image.path), "max_side": max_side}
        with _about("image", IMAGE_FORMATS):
            facts, rgb = await _only(self._decoders.run(task, image.loc), "picture")
        return Frame(0.0, facts["width"], facts["height"], rgb)

    async def frames(self, video: Video, *, fps: float, max_side: int) -> AsyncIterator[Frame]:
        """See `models.Decoder`. Raises UnsupportedMedia at the video's loc, if no frame decodes."""
        task = {"task": "frames", "path": str(video.path), "fps": fps, "max_side": max_side}
        async with aclosing(self._decoders.run(task, video.loc)) as answers:
            async for head, rgb in answers:
                if facts := head.get("frame"):
                    yield Frame(
                        facts["seconds"],
                        facts["width"],
                        facts["height"],
                        rgb,
                        tuple(facts["cuts"]),
                    )

    async def stills(self, video: Video, sampling: Sampling) -> AsyncIterator[StillTaken]:
        """One for each time, in order, fewer where the video breaks off before.

        Raises UnsupportedMedia at the video's loc, if there is none at all.
        """
        task = {
            "task": "stills",
            "path": str(video.path),
            "times": sampling.times,
            "max_side": sampling.max_side,
            "max_bytes": sampling.max_bytes,
        }
        async with aclosing(self._decoders.run(task, video.loc)) as answers:
            async for head, jpeg in answers:
                if facts := head.get("still"):
                    yield StillTaken(facts["seconds"], facts["width"], facts["height"], jpeg)

    async def transcode(self, video: Video, transform: Transform) -> AsyncIterator[Piece | Mp4]:
        """An mp4 of the video: pieces as they come, and at last an Mp4.

        A damaged video goes as far as it can be decoded. Raises UnsupportedMedia at its loc, also
        where it cannot be made as small as is asked.
        """
        work = {**asdict(transform), "start": transform.start or 0.0}
        task = {"task": "transcode", "path": str(video.path), "work": work}
        async with aclosing(self._decoders.run(task, video.loc)) as answers:
            async for head, data in answers:
                if "data" in head:
                    yield Piece(data)
                elif "again" in head:
                    yield Piece(is_void=True)
                elif facts := head.get("made"):
                    yield Mp4(beginning=data, **facts)


@dataclass(frozen=True, slots=True)
class _Limits:
    memory_bytes: int
    cpu_seconds: int
    stall_seconds: float


class _Lane:
    """Some processes that do one kind of work, and the queue before them."""

    def __init__(self, size: int, limits: _Limits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(size)  # first come, first served
        self._idle: list[Child] = []
        self._jobs: dict[Child, int] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._is_open = False

    def open(self) -> None:
        self._is_open = True

    async def close(self) -> None:
        """End every process, also those at work."""
        self._is_open = False
        self._idle.clear()
        await asyncio.gather(*(child.kill() for child in tuple(self._jobs)), *self._leaving)
        self._jobs.clear()

    async def run(
        self, task: Mapping[str, Any], loc: Loc = ("body",)
    ) -> AsyncGenerator[Message, None]:
        """The answers of one task. Raises UnsupportedMedia; closing it early ends the process."""
        if not self._is_open:
            raise RuntimeError("open the pool first: async with pool")
        async with self._slots:
            child = await self._take()
            try:
                answers = child.task(task, stall_seconds=self._limits.stall_seconds)
                async with aclosing(answers):
                    async for answer in answers:
                        yield answer
            except ChildFailed as error:
                if error.kind != "unsupported":
                    await child.kill()
                raise self._refusal(error, loc) from error
            except ChildDied as error:
                if not self._is_open:
                    raise Cancelled("The server is stopping") from error
                raise self._accident(error, loc) from error
            finally:
                await self._give_back(child)

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            try:
                if await self._answers(child):
                    return child
            finally:
                if not child.is_alive:
                    self._jobs.pop(child, None)
            await self._discard(child)
        child = Child(
            _MODULE,
            str(self._limits.memory_bytes),
            str(self._limits.cpu_seconds),
            # One arena and no helper threads of NumPy's: they would count as memory in use.
            environment=environment(MALLOC_ARENA_MAX="2", OPENBLAS_NUM_THREADS="1"),
        )
        self._jobs[child] = 0
        try:
            await child.start()
        except BaseException:
            del self._jobs[child]
            raise
        return child

    async def _answers(self, child: Child) -> bool:
        """Whether it is still there: the news of a process's end may come after the next job."""
        try:
            async for _ in child.task({"task": "ping"}, stall_seconds=_PING_SECONDS):
                pass
        except ChildDied:
            return False
        return True

    async def _give_back(self, child: Child) -> None:
        if child not in self._jobs:
            return
        self._jobs[child] += 1
        if not child.is_alive or self._jobs[child] >= _JOBS_PER_CHILD or not self._is_open:
            await self._discard(child)
            return
        self._idle.append(child)
        # A process that was used meanwhile may go early; the next job then starts another.
        asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._retire, child)

    def _retire(self, child: Child) -> None:
        if child in self._idle:
            self._idle.remove(child)
            task = asyncio.create_task(self._discard(child), name="retire a decoder")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _discard(self, child: Child) -> None:
        self._jobs.pop(child, None)
        await child.kill()

    def _refusal(self, error: ChildFailed, loc: Loc) -> TelecineError:
        match error.kind:
            case "unsupported":
                return _unsupported(str(error), loc)
            case "memory":
                return _unsupported(self._too_much_memory(), loc)
        log.error("a file could not be read: %s", error)
        return _unsupported("The file cannot be read: it is damaged in an unusual way", loc)

    def _accident(self, error: ChildDied, loc: Loc) -> TelecineError:
        limits = self._limits
        if isinstance(error, ChildStuck):
            says = f"Decoding the file got stuck: nothing came for {limits.stall_seconds:g} s"
        elif error.signal == signal.SIGXCPU:
            says = (
                f"Decoding the file takes more than {limits.cpu_seconds} s of processor time, "
                "the limit here: send a shorter or smaller one"
            )
        elif error.signal == signal.SIGKILL:
            says = f"{self._too_much_memory()} (its decoder was killed)"
        else:
            says = "The file crashed its decoder: it is damaged, or made to do harm"
        log.warning("a decoder went away (%s): %s", error, says)
        return _unsupported(says, loc)

    def _too_much_memory(self) -> str:
        return (
            f"Decoding the file takes more than {self._limits.memory_bytes // 2**20} MB of memory, "
            "the limit here: send one with a smaller picture"
        )


def _unsupported(message: str, loc: Loc) -> UnsupportedMedia:
    return UnsupportedMedia(message, loc=loc, ctx={"supported_formats": list(SUPPORTED_FORMATS)})


async def _only(answers: AsyncGenerator[Message, None], name: str) -> tuple[dict[str, Any], bytes]:
    """The one answer of that name, and what came with it."""
    found: tuple[dict[str, Any], bytes] | None = None
    async with aclosing(answers):
        async for head, payload in answers:
            if name in head:
                found = head[name], payload
    assert found, "a task ends with its answer or an error"
    return found


@contextmanager
def _about(kind: str, formats: Sequence[str]) -> Iterator[None]:
    """A refusal of a file that is no video says which formats of its kind are taken."""
    try:
        yield
    except UnsupportedMedia as error:
        raise UnsupportedMedia(
            error.message,
            loc=error.problems[0].loc,
            type=f"unsupported_{kind}_format",
            ctx={"supported_formats": list(formats)},
        ) from error
