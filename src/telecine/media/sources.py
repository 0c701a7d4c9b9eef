"""From names to files: each entry of `video_urls` becomes a Video on this disk that was looked at.

A name is one of four things: a placeholder of this very request (bytes that came in its body), a
short data URI, the URL of a file uploaded here, or any other http(s) URL, which is downloaded.
Type and file name are never believed: the probe tells the container by content.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from telecine.errors import (
    Forbidden,
    InputError,
    NotFound,
    Problem,
    SourceUnavailable,
    TooLarge,
    UnsupportedMedia,
)
from telecine.media.pool import SUPPORTED_FORMATS, Pool, Probe
from telecine.media.scan import decode_data_uri
from telecine.media.spool import Spool, SpoolFile
from telecine.models import (
    Attachment,
    Capabilities,
    Decoder,
    Level,
    Log,
    Request,
    Video,
    MediaName,
)
from telecine.net import Client, FetchError, FetchTooLarge, shown_host, shown_text, shown_url

T = TypeVar("T")

_AT_ONCE = 4
_PATHS = ("/", "./", "../", "~", "\\")
_CAN_HELP = "give an http(s) URL or a data URI, or upload the file and give the URL of the upload"


class LocalFiles(Protocol):
    """The part of a Storage that is needed here."""

    def local(self, key: str) -> AbstractAsyncContextManager[Path]: ...


OwnFile = Callable[[str, Request], Awaitable[tuple[str, str] | None]]


class Sources:
    """Fetches for all requests; holds no state between them.

    `own_file` gives object key and file name when a URL is that of a file uploaded here, else None;
    it raises Forbidden when the request may not use that file.
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
    ) -> None:
        self.client = client
        self.spool = spool
        self.pool = pool
        self.storage = storage
        self.own_file = own_file
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self.max_redirects = max_redirects

    @contextlib.asynccontextmanager
    async def hold(self, request: Request) -> AsyncIterator[Held]:
        """The videos of `request` for as long as the context lasts; then their files are gone.

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

    found: Literal["url", "data", "upload", "path"]
    origin: str
    where: str
    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Work:
    """One name to fetch, what its log lines call it, and where they go."""

    text: str
    label: str
    capabilities: Capabilities
    said: asyncio.Queue[Log | None]

    def say(self, message: str, level: Level = "INFO") -> None:
        self.said.put_nowait(Log(message, level))


class Held:
    """The videos of one request. Made by `Sources.hold`."""

    def __init__(self, sources: Sources, request: Request, stack: AsyncExitStack) -> None:
        self.decoder: Decoder = sources.pool
        self._sources = sources
        self._request = request
        self._attachments = request.attachments
        self._key_id = request.caller.key_id
        self._stack = stack
        self._tasks: set[asyncio.Task[Any]] = set()
        self._probes: dict[str, asyncio.Task[Probe]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def fetch(
        self, names: Sequence[MediaName], capabilities: Capabilities
    ) -> AsyncIterator[Log | Video]:
        """Log lines as there is something to say, then one Video per name, in the order of `names`.

        The same name twice is fetched once, and the same bytes are looked at once. Raises
        InputError with every problem known when the first video fails, each at its name's loc in
        the order of `names`, after it gave up on the others; and LimitReached from the spool.
        """
        self._raise_if_any([(name, self._unusable(name.text)) for name in names])
        said: asyncio.Queue[Log | None] = asyncio.Queue()
        jobs: dict[str, asyncio.Task[tuple[_Found, Probe]]] = {}
        for number, name in enumerate(names, 1):
            if name.text not in jobs:
                work = _Work(name.text, f"video {number}/{len(names)}", capabilities, said)
                jobs[name.text] = self._start(self._open(work))
                # after the last thing it said, so that nothing is lost
                jobs[name.text].add_done_callback(lambda _: said.put_nowait(None))
        running = len(jobs)
        while running:
            if (line := await said.get()) is not None:
                yield line
                continue
            running -= 1
            failures = [(name, _failure(jobs[name.text])) for name in names]
            if any(failure for _, failure in failures):
                await self.stop()
                self._raise_if_any(failures)
        for position, name in enumerate(names):
            yield _video(position, name, *jobs[name.text].result())

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
        if scheme in ("http", "https", "data"):
            return None
        if not text.strip():
            return SourceUnavailable(f"The URL is empty: {_CAN_HELP}")
        if scheme == "file" or len(scheme) == 1 or text.lstrip().startswith(_PATHS):
            return SourceUnavailable(f"Files on a disk are not read from here: {_CAN_HELP}")
        if scheme:
            return SourceUnavailable(f"{shown_text(scheme, 20)}: URLs are not fetched: {_CAN_HELP}")
        return SourceUnavailable(f"This is not a URL: it must begin with https://; {_CAN_HELP}")

    async def _open(self, work: _Work) -> tuple[_Found, Probe]:
        async with self._slots:
            found = await self._find(work)
        if found.bytes > self._sources.max_bytes:
            raise _too_large(found.where, self._sources.max_bytes, "TELECINE_MEDIA_MAX_BYTES")
        probe = await self._probe(found)
        if probe.container not in SUPPORTED_FORMATS:
            raise UnsupportedMedia(
                f"The file is {probe.container}, which is not taken: convert it to mp4",
                ctx={"supported_formats": list(SUPPORTED_FORMATS)},
            )
        work.say(f"{work.label}: {_facts(probe)}, {_size(found.bytes)} from {found.where}")
        for warning in probe.warnings:
            work.say(f"{work.label}: {warning}", "WARN")
        return found, probe

    async def _probe(self, found: _Found) -> Probe:
        if found.sha256 not in self._probes:
            self._probes[found.sha256] = self._start(self._sources.pool.probe(found.path))
        # one of several that wait for it may be given up; the probe goes on for the others
        return await asyncio.shield(self._probes[found.sha256])

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
        file = self._file()
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
        sources, theirs = self._sources, work.capabilities.max_bytes
        most = sources.max_bytes if theirs is None else min(sources.max_bytes, theirs)
        origin = shown_url(work.text)
        host = shown_host(work.text)
        work.say(f"downloading {work.label} from {host}")
        file = self._file()
        try:
            await sources.client.download(
                work.text,
                file,
                max_bytes=most,
                max_seconds=sources.max_seconds,
                max_redirects=sources.max_redirects,
            )
        except FetchTooLarge as error:
            limit = (
                "TELECINE_MEDIA_MAX_BYTES" if most == sources.max_bytes else "this model's limit"
            )
            raise _too_large(host, most, limit) from error
        except FetchError as error:
            raise SourceUnavailable(error.message) from error
        file.close()
        return _Found("url", origin, host, file.path, file.bytes, file.sha256)

    def _file(self) -> SpoolFile:
        file = self._sources.spool.file(self._key_id)
        self._stack.callback(file.discard)
        return file

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


def _video(position: int, name: MediaName, found: _Found, probe: Probe) -> Video:
    last = name.loc[-1]
    return Video(
        index=last if isinstance(last, int) else position,
        found=found.found,
        origin=found.origin,
        loc=name.loc,
        path=found.path,
        bytes=found.bytes,
        sha256=found.sha256,
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


def _scheme(text: str) -> str:
    scheme, colon, _ = text.lstrip().partition(":")
    return scheme.lower() if colon and scheme.isascii() and scheme.isalnum() else ""


def _echo(text: str) -> str:
    """The name as an error shows it: no data, no query string, not long."""
    scheme = _scheme(text)
    if scheme in ("http", "https"):
        return shown_url(text)
    return shown_text(text, 40 if scheme == "data" else 200)


def _facts(probe: Probe) -> str:
    length = "" if probe.seconds is None else f" {probe.seconds:.1f} s"
    codecs = "+".join(filter(None, (probe.video_codec, probe.audio_codec)))
    return f"{probe.container}{length} {probe.width}x{probe.height} {codecs}"


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
