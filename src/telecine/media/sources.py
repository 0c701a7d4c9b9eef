"""From names to files: every video, image, sound and document that a request names becomes a file
on this disk that was looked at.

A name is one of four things: a placeholder of this very request (bytes that came in its body), a
short data URI, the URL of a file uploaded here, or any other http(s) URL, which is downloaded.
Type and file name are never believed: the probe tells what it is by content.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Hashable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from telecine.errors import (
    Forbidden,
    InputError,
    Loc,
    NotFound,
    Problem,
    SourceUnavailable,
    TooLarge,
    UnsupportedMedia,
)
from telecine.media.links import watch
from telecine.media.pool import SUPPORTED_FORMATS, AudioProbe, ImageProbe, Pool, Probe
from telecine.media.scan import decode_data_uri
from telecine.media.spool import Spool, SpoolFile
from telecine.media.youtube import YouTube
from telecine.models import (
    Attachment,
    Audio,
    Capabilities,
    Decoder,
    Found,
    Image,
    Kind,
    Level,
    Log,
    Media,
    MediaName,
    Pdf,
    Request,
    Video,
)
from telecine.net import (
    MAX_URL,
    Client,
    FetchError,
    FetchTooLarge,
    shown_host,
    shown_text,
    shown_url,
)

T = TypeVar("T")

_AT_ONCE = 4
_NOUNS: Mapping[Kind, str] = {
    "video": "video",
    "image": "image",
    "audio": "audio",
    "pdf": "document",
}
_PATHS = ("/", "./", "../", "~", "\\")
_CAN_HELP = "give an http(s) URL or a data URI, or upload the file and give the URL of the upload"


class LocalFiles(Protocol):
    """The part of a Storage that is needed here."""

    def local(self, key: str) -> AbstractAsyncContextManager[Path]: ...


OwnFile = Callable[[str, Request], Awaitable[tuple[str, str] | None]]


class Sources:
    """Fetches for all requests; holds no state between them.

    `own_file` gives object key and file name when a URL is that of a file uploaded here, else None;
    it raises Forbidden when the request may not use that file. `youtube` None: links of videos on
    YouTube are not fetched.
    `max_bytes`, `max_seconds` and `max_redirects` cap one video's way in.
    """

    def __init__(
        self,
        *,
        client: Client,
        spool: Spool,
        pool: Pool,
        storage: LocalFiles,
        own_file: OwnFile,
        max_bytes: int,
        max_seconds: float,
        max_redirects: int,
        youtube: YouTube | None = None,
    ) -> None:
        self.client = client
        self.spool = spool
        self.pool = pool
        self.storage = storage
        self.own_file = own_file
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self.max_redirects = max_redirects
        self.youtube = youtube

    @property
    def fetches_links(self) -> bool:
        """Whether a link of a video on YouTube can be made a file here."""
        return self.youtube is not None

    @contextlib.asynccontextmanager
    async def hold(self, request: Request) -> AsyncIterator[Held]:
        """The media of `request` for as long as the context lasts; then their files are gone.

        What the request's attachments point at belongs to whoever made the request, and stays.
        """
        async with AsyncExitStack() as stack:
            held = Held(self, request, stack)
            try:
                yield held
            finally:
                await held.stop()


@dataclass(frozen=True, slots=True)
class _Found:
    """Bytes on this disk, before anybody looked at them. `where` ends the sentence "... from"."""

    found: Found
    origin: str
    where: str
    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Work:
    """One name to fetch, what its log lines call it, and where they go."""

    name: MediaName
    label: str
    capabilities: Capabilities
    said: asyncio.Queue[Log | None]

    @property
    def text(self) -> str:
        return self.name.text

    def say(self, message: str, level: Level = "INFO") -> None:
        self.said.put_nowait(Log(message, level))


_Probed = Probe | ImageProbe | AudioProbe


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that was looked at. `wav`: its sound once more, in the one format that all take."""

    found: _Found
    probe: _Probed | None = None
    wav: SpoolFile | None = None


class Held:
    """The media of one request. Made by `Sources.hold`."""

    def __init__(self, sources: Sources, request: Request, stack: AsyncExitStack) -> None:
        self.decoder: Decoder = sources.pool
        self._sources = sources
        self._request = request
        self._attachments = request.attachments
        self._key_id = request.caller.key_id
        self._stack = stack
        self._tasks: set[asyncio.Task[Any]] = set()
        self._probes: dict[tuple[Kind, str], asyncio.Task[_Probed]] = {}
        self._made: dict[Hashable, asyncio.Task[Any]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def fetch(
        self, names: Sequence[MediaName], capabilities: Capabilities
    ) -> AsyncIterator[Log | Media]:
        """Log lines as there is something to say, then one Media per name, in the order of `names`.

        The same name twice is fetched once, and the same bytes are looked at once. Raises
        InputError with every problem known when the first one fails, each at its name's loc in
        the order of `names`, after it gave up on the others; and LimitReached from the spool.
        """
        if not names:
            return
        self._raise_if_any([(name, self._unusable(name.text)) for name in names])
        said: asyncio.Queue[Log | None] = asyncio.Queue()
        jobs: dict[tuple[Kind, str], asyncio.Task[_Opened]] = {}
        totals = Counter(name.kind for name in names)
        numbers: Counter[Kind] = Counter()
        for name in names:
            numbers[name.kind] += 1
            key = (name.kind, name.text)
            if key not in jobs:
                label = f"{_NOUNS[name.kind]} {numbers[name.kind]}/{totals[name.kind]}"
                jobs[key] = self._start(self._open(_Work(name, label, capabilities, said)))
                # after the last thing it said, so that nothing is lost
                jobs[key].add_done_callback(lambda _: said.put_nowait(None))
        running = len(jobs)
        while running:
            if (line := await said.get()) is not None:
                yield line
                continue
            running -= 1
            failures = [(name, _failure(jobs[name.kind, name.text])) for name in names]
            if any(failure for _, failure in failures):
                await self.stop()
                self._raise_if_any(failures)
        for name in names:
            yield _media(name, jobs[name.kind, name.text].result())

    async def attached(self, placeholder: str, loc: Loc) -> tuple[str, Path]:
        """Content type and bytes of data that came with the request and is none of its media.

        Raises InputError at `loc` when there are none.
        """
        attachment = self._attachments[placeholder]
        if attachment.problem:
            raise SourceUnavailable(attachment.problem, loc=loc)
        return attachment.content_type, (await self._attached(attachment)).path

    async def _from_youtube(self, work: _Work, url: str, youtube: YouTube) -> _Found:
        sources, file = self._sources, self.file()
        work.say(f"downloading {work.label} from YouTube")
        await youtube.download(
            url, file, max_bytes=sources.max_bytes, max_seconds=sources.max_seconds
        )
        file.close()
        return _Found("url", url, "YouTube", file.path, file.bytes, file.sha256)

    def file(self) -> SpoolFile:
        """A new, empty temporary file of this request, gone when the request ends."""
        file = self._sources.spool.file(self._key_id)
        self._stack.callback(file.discard)
        return file

    async def once(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `make` gives: made by the first who asks under that key, for all of them. It goes on
        when one of those who wait for it is given up."""
        if key not in self._made:
            self._made[key] = self._start(make())
        made: T = await asyncio.shield(self._made[key])
        return made

    async def stop(self) -> None:
        """End whatever is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        return task

    def _unusable(self, text: str) -> InputError | None:
        """What is wrong with a name on the face of it, before anything is fetched."""
        attachment = self._attachments.get(text)
        if attachment is not None:
            return SourceUnavailable(attachment.problem) if attachment.problem else None
        scheme = _scheme(text)
        if scheme in ("http", "https") and len(text) > MAX_URL:
            return SourceUnavailable(f"The URL is longer than {MAX_URL} characters")
        if scheme in ("http", "https", "data"):
            return None
        if not text.strip():
            return SourceUnavailable(f"The URL is empty: {_CAN_HELP}")
        if scheme == "file" or len(scheme) == 1 or text.lstrip().startswith(_PATHS):
            return SourceUnavailable(f"Files on a disk are not read from here: {_CAN_HELP}")
        if scheme:
            return SourceUnavailable(f"{shown_text(scheme, 20)}: URLs are not fetched: {_CAN_HELP}")
        return SourceUnavailable(f"This is not a URL: it must begin with https://; {_CAN_HELP}")

    async def _open(self, work: _Work) -> _Opened:
        async with self._slots:
            found = await self._find(work)
        if found.bytes > self._sources.max_bytes:
            raise _too_large(found.where, self._sources.max_bytes, "TELECINE_MEDIA_MAX_BYTES")
        if work.name.kind == "pdf":
            await asyncio.to_thread(_refuse_unless_pdf, found.path)
            work.say(f"{work.label}: pdf, {_size(found.bytes)} from {found.where}")
            return _Opened(found)
        probe = await self._probe(work.name.kind, found)
        if isinstance(probe, Probe) and probe.container not in SUPPORTED_FORMATS:
            raise UnsupportedMedia(
                f"The file is {probe.container}, which is not taken: convert it to mp4",
                ctx={"supported_formats": list(SUPPORTED_FORMATS)},
            )
        work.say(f"{work.label}: {_facts(probe)}, {_size(found.bytes)} from {found.where}")
        for warning in () if isinstance(probe, ImageProbe) else probe.warnings:
            work.say(f"{work.label}: {warning}", "WARN")
        if isinstance(probe, AudioProbe) and _needs_wav(probe, work.capabilities):
            work.say(f"{work.label}: this model takes no {probe.format}; sent as wav, 16 kHz mono")
            return _Opened(found, probe, await self._wav(_audio(work.name, found, probe)))
        return _Opened(found, probe)

    async def _probe(self, kind: Kind, found: _Found) -> _Probed:
        key = (kind, found.sha256)
        if key not in self._probes:
            self._probes[key] = self._start(self._look(kind, found.path))
        # one of several that wait for it may be given up; the probe goes on for the others
        return await asyncio.shield(self._probes[key])

    async def _look(self, kind: Kind, path: Path) -> _Probed:
        pool = self._sources.pool
        if kind == "image":
            return await pool.probe_image(path)
        if kind == "audio":
            return await pool.probe_audio(path)
        return await pool.probe(path)

    async def _wav(self, audio: Audio) -> SpoolFile:
        """A sound as a 16 kHz mono WAV file, decoded in the pool."""
        file = self.file()
        file.write(_wav_head(0))
        async with contextlib.aclosing(self._sources.pool.audio(audio)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                file.write(chunk.pcm)
        file.close()
        with file.path.open("r+b") as again:
            again.write(_wav_head(file.bytes - len(_wav_head(0))))
        return file

    async def _find(self, work: _Work) -> _Found:
        attachment = self._attachments.get(work.text)
        if attachment is not None:
            return await self._attached(attachment)
        if _scheme(work.text) == "data":
            return self._inline(work.text)
        try:
            own = await self._sources.own_file(work.text.strip(), self._request)
        except Forbidden as error:
            raise SourceUnavailable(error.message) from error
        if own is not None:
            return await self._uploaded(*own)
        link = watch(work.text) if work.name.kind == "video" else None
        if link is not None and self._sources.youtube is not None:
            return await self._from_youtube(work, link.url, self._sources.youtube)
        return await self._downloaded(work)

    async def _attached(self, attachment: Attachment) -> _Found:
        path = attachment.path
        if path is None:
            assert attachment.object is not None, "an attachment without a problem has bytes"
            path = await self._stored(attachment.object, "the data that came with the request")
        origin = shown_text(attachment.origin)
        return _Found(attachment.found, origin, origin, path, attachment.bytes, attachment.sha256)

    def _inline(self, text: str) -> _Found:
        try:
            content_type, data = decode_data_uri(text.strip())
        except ValueError as error:
            raise SourceUnavailable(str(error)) from error
        file = self.file()
        file.write(data)
        file.close()
        origin = f"data URI ({content_type})"
        return _Found("data", origin, "a data URI", file.path, file.bytes, file.sha256)

    async def _uploaded(self, key: str, name: str) -> _Found:
        path = await self._stored(key, "the uploaded file")
        sha256 = await asyncio.to_thread(_sha256, path)
        name = shown_text(name)
        return _Found("upload", name, f"upload {name}", path, path.stat().st_size, sha256)

    async def _downloaded(self, work: _Work) -> _Found:
        sources, most = self._sources, self._sources.max_bytes
        origin = shown_url(work.text)
        host = shown_host(work.text)
        work.say(f"downloading {work.label} from {host}")
        file = self.file()
        try:
            await sources.client.download(
                work.text,
                file,
                max_bytes=most,
                max_seconds=sources.max_seconds,
                max_redirects=sources.max_redirects,
            )
        except FetchTooLarge as error:
            raise _too_large(host, most, "TELECINE_MEDIA_MAX_BYTES") from error
        except FetchError as error:
            raise SourceUnavailable(error.message) from error
        file.close()
        return _Found("url", origin, host, file.path, file.bytes, file.sha256)

    async def _stored(self, key: str, what: str) -> Path:
        try:
            return await self._stack.enter_async_context(self._sources.storage.local(key))
        except NotFound as error:
            raise SourceUnavailable(
                f"{what.capitalize()} is no longer kept: send it again"
            ) from error

    def _raise_if_any(self, failures: Sequence[tuple[MediaName, BaseException | None]]) -> None:
        """Raise what failed as one error, each problem at its name's loc.

        Anything but an InputError goes first: it is about the server, and no name's fault.
        """
        errors = [(name, failure) for name, failure in failures if failure is not None]
        problems: list[Problem] = []
        for name, error in errors:
            if not isinstance(error, InputError):
                raise error
            attachment = self._attachments.get(name.text)
            shown = attachment.origin if attachment else _echo(name.text)
            problems += [replace(each, loc=name.loc, input=shown) for each in error.problems]
        if errors:
            first = errors[0][1]
            assert isinstance(first, InputError)
            raise type(first)(first.message, type=first.type, problems=problems) from first


def _failure(job: asyncio.Task[Any]) -> BaseException | None:
    return job.exception() if job.done() and not job.cancelled() else None


def _media(name: MediaName, opened: _Opened) -> Media:
    found, probe = opened.found, opened.probe
    match probe:
        case Probe():
            return Video(
                **_about(name, found),
                container=probe.container,
                mime=probe.mime,
                seconds=probe.seconds,
                width=probe.width,
                height=probe.height,
                fps=probe.fps,
                rotation=probe.rotation,
                video_codec=probe.video_codec,
                audio_codec=probe.audio_codec,
                warnings=probe.warnings,
            )
        case ImageProbe():
            return Image(
                **_about(name, found),
                format=probe.format,
                mime=probe.mime,
                width=probe.width,
                height=probe.height,
            )
        case AudioProbe():
            audio, wav = _audio(name, found, probe), opened.wav
            return audio if wav is None else replace(audio, wav=wav.path, wav_bytes=wav.bytes)
        case None:
            return Pdf(**_about(name, found), mime="application/pdf")


def _audio(name: MediaName, found: _Found, probe: AudioProbe) -> Audio:
    return Audio(
        **_about(name, found),
        format=probe.format,
        mime=probe.mime,
        seconds=probe.seconds,
        codec=probe.codec,
        warnings=probe.warnings,
    )


def _about(name: MediaName, found: _Found) -> dict[str, Any]:
    return {
        "index": name.index,
        "found": found.found,
        "origin": found.origin,
        "loc": name.loc,
        "path": found.path,
        "bytes": found.bytes,
        "sha256": found.sha256,
    }


def _needs_wav(probe: AudioProbe, capabilities: Capabilities) -> bool:
    return probe.format not in capabilities.audio and not capabilities.is_decoded


def _wav_head(size: int) -> bytes:
    """The head of a WAV file with `size` bytes of 16 kHz mono 16-bit samples after it."""
    rate, width = 16_000, 2
    format_ = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * width, width, 8 * width)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + format_
        + b"data"
        + struct.pack("<I", size)
    )


def _refuse_unless_pdf(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(1024)  # readers allow for some rubbish before it
    if b"%PDF-" not in head:
        raise UnsupportedMedia(
            "The file is not a PDF document",
            type="unsupported_document_format",
            ctx={"supported_formats": ["pdf"]},
        )


def _scheme(text: str) -> str:
    scheme, colon, _ = text.lstrip().partition(":")
    return scheme.lower() if colon and scheme.isascii() and scheme.isalnum() else ""


def _echo(text: str) -> str:
    """The name as an error shows it: no data, no query string, not long."""
    scheme = _scheme(text)
    if "://" in text:
        return shown_url(text)
    return shown_text(text, 40 if scheme == "data" else 200)


def _facts(probe: _Probed) -> str:
    match probe:
        case Probe():
            codecs = "+".join(filter(None, (probe.video_codec, probe.audio_codec)))
            size = f"{probe.width}x{probe.height}"
            return f"{probe.container}{_length(probe.seconds)} {size} {codecs}"
        case ImageProbe():
            return f"{probe.format} {probe.width}x{probe.height}"
        case AudioProbe():
            return f"{probe.format}{_length(probe.seconds)} {probe.codec}"


def _length(seconds: float | None) -> str:
    return "" if seconds is None else f" {seconds:.1f} s"


def _size(count: int) -> str:
    for unit, step in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count} bytes"


def _too_large(where: str, limit: int, setting: str) -> TooLarge:
    return TooLarge(
        f"The file from {where} is larger than {limit} bytes ({setting})",
        ctx={"max_size": limit},
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
