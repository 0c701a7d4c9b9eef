"""Files at Google: uploaded once for all who ask about the same bytes, used again, deleted.

Google keeps a file for 48 hours. Here it is used again for a day, after a look whether it is still
there, and then deleted, as it is when the provider closes or too many are kept. One that a crash
left behind is found by its name, which holds the hash of its content. A call that uses a file holds
it meanwhile; an upload goes on as long as anybody waits for it, whoever began it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

from telecine.errors import FormRefused, ProviderError, ProviderRejected, ProviderUnavailable
from telecine.providers import failures
from telecine.providers.gemini.google import TITLE, Google, is_file_name
from telecine.providers.gemini.request import Source, Uris, key
from telecine.providers.values import items, mapping, text, word

Key = tuple[str, str]

_KEEP_SECONDS = 24 * 3600.0
_GOOGLE_KEEPS_SECONDS = 48 * 3600.0
_MARGIN_SECONDS = 3600.0
_SWEEP_SECONDS = 600.0
_MAX_FILES = 200
_MAX_BYTES = 16_000_000_000  # of the 20 GB that a project has
_AT_ONCE = 4
_PROCESSING_SECONDS = 900.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
_MISSED_POLLS = 5
_CLOSE_SECONDS = 5.0
_MAX_PAGES = 10


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file at Google. `is_ours`: uploaded by this process, which deletes it."""

    name: str
    uri: str
    state: str
    bytes: int
    created: float
    expires: float
    is_ours: bool
    problem: str = ""


@dataclass(eq=False)
class _Entry:
    """One content, and the work on getting it there. `tell` is called with what goes on."""

    source: Source
    stored: _Stored | None = None
    task: asyncio.Task[_Stored] | None = None
    users: int = 0
    listeners: list[Callable[[str, float], None]] = field(default_factory=list)

    def tell(self, what: str, seconds: float = 0.0) -> None:
        for listener in self.listeners:
            listener(what, seconds)


class Files:
    """`clock` tells the time of day. `sleep` is for tests."""

    def __init__(
        self,
        name: str,
        google: Google,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._google = google
        self._clock = clock
        self._sleep = sleep
        self._entries: dict[Key, _Entry] = {}
        self._left: dict[Key, _Stored] | None = None
        self._lookup = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._background: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Ends what is under way, and deletes what was uploaded: for 5 s at most."""
        entries, self._entries = list(self._entries.values()), {}
        tasks = [task for task in (self._sweeper, *(e.task for e in entries)) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for entry in entries:
            self.drop(entry)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(*self._background, return_exceptions=True)
        for task in self._background:
            task.cancel()

    @contextlib.asynccontextmanager
    async def held(self, sources: Sequence[Source]) -> AsyncGenerator[Held, None]:
        """Those files, for one call: none of them goes while it is used."""
        entries = {key(source): self._join(source) for source in sources}
        held = Held(self, {key(source): source for source in sources}, entries)
        try:
            yield held
        finally:
            for entry in entries.values():
                self._leave(entry)

    # ------------------------------------------------------------ who wants what

    def _join(self, source: Source) -> _Entry:
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name=f"{self._name} files")
        entry = self._entries.pop(key(source), None) or _Entry(source)
        entry.users += 1
        self._entries[key(source)] = entry  # the last in order is the last used
        return entry

    def _leave(self, entry: _Entry) -> None:
        entry.users -= 1
        task = entry.task
        if entry.users == 0 and task is not None:
            if not task.done():
                task.cancel()
                self._keep(task)
            elif not task.cancelled():
                task.exception()  # whoever waited has heard of it
            entry.task = None
        if entry.users == 0 and entry.stored is None:
            self._forget(entry)
        self._evict()

    def start(self, entry: _Entry, source: Source) -> asyncio.Task[_Stored]:
        """The work on that content: that which is under way, else a new look."""
        if entry.task is None or entry.task.done():
            # Opened now: the file may be gone from the disk before its turn comes, when whoever
            # brought it has left.
            file = source.path.open("rb")
            entry.task = asyncio.create_task(
                self._obtain(entry, source, file), name=f"{self._name} upload"
            )
            entry.task.add_done_callback(lambda _: file.close())
        return entry.task

    # ------------------------------------------------------------ getting it there

    async def _obtain(self, entry: _Entry, source: Source, file: BinaryIO) -> _Stored:
        """An ACTIVE file, or this raises ProviderError."""
        stored = await self._still_there(entry.stored) or await self._left_behind(source)
        entry.stored = None
        try:
            if stored is None:
                stored = await self._uploaded(entry, source, file)
            entry.stored = stored = await self._active(entry, stored)
        except BaseException:
            self._delete(stored)
            raise
        return stored

    async def _uploaded(self, entry: _Entry, source: Source, file: BinaryIO) -> _Stored:
        async with self._slots:
            entry.tell("uploading")
            made = await self._google.upload(source, file)
            stored = self._read(made, is_ours=True, created=self._clock())
        if stored is None or stored.bytes not in (0, source.bytes):
            self._delete(stored)
            raise ProviderUnavailable(
                f"{self._name} did not get {source.label} as it is", provider=self._name
            )
        return stored

    async def _still_there(self, stored: _Stored | None) -> _Stored | None:
        if stored is None or not self._is_fresh(stored):
            self._delete(stored)
            return None
        try:
            found = self._renewed(stored, await self._google.file(stored.name))
        except ProviderError as error:
            if error.upstream_status in (400, 403, 404):
                return None
            raise self._silent(error) from error
        return found if found is not None and found.state in ("ACTIVE", "PROCESSING") else None

    async def _left_behind(self, source: Source) -> _Stored | None:
        """What an earlier process uploaded and could not delete. Asked for once."""
        async with self._lookup:
            if self._left is None:
                self._left = await self._listed()
        found = self._left.pop(key(source), None)
        if found is None or found.bytes != source.bytes or not self._is_fresh(found):
            return None
        return await self._still_there(found)

    async def _listed(self) -> dict[Key, _Stored]:
        """Files that bear our names. Best effort: without the list they are uploaded again."""
        found: dict[Key, _Stored] = {}
        page = ""
        with contextlib.suppress(ProviderError):
            for _ in range(_MAX_PAGES):
                answer = mapping(await self._google.files(page))
                for file in map(mapping, items(answer.get("files"))):
                    title, mime = word(file.get("displayName")) or "", word(file.get("mimeType"))
                    stored = self._read(file, is_ours=False)
                    if stored and mime and title.startswith(TITLE):
                        found[title.removeprefix(TITLE), mime] = stored
                page = text(answer.get("nextPageToken"))
                if not page:
                    break
        return found

    async def _active(self, entry: _Entry, stored: _Stored) -> _Stored:
        """The file, once Google has looked at it."""
        began, pause, missed = self._clock(), _FIRST_PAUSE, 0
        while stored.state == "PROCESSING":
            waited = self._clock() - began
            if waited >= _PROCESSING_SECONDS:
                raise ProviderUnavailable(
                    f"{self._name} was still processing {entry.source.label} after {waited:.0f} s",
                    provider=self._name,
                )
            entry.tell("processing", waited)
            await self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            try:
                file = await self._google.file(stored.name)
            except ProviderError as error:
                missed += 1
                if missed == _MISSED_POLLS or error.upstream_status in (400, 401, 403, 404):
                    raise self._silent(error) from error
                continue
            missed = 0
            stored = self._renewed(stored, file) or stored
        if stored.state != "ACTIVE":
            raise FormRefused(
                f"{self._name} could not process {entry.source.label}"
                + (f": {stored.problem}" if stored.problem else ""),
                provider=self._name,
            )
        return stored

    def _silent(self, error: ProviderError) -> ProviderError:
        """Nothing was billed so far: it may be tried again, unless it is the key that is wrong."""
        if error.upstream_status in (400, 401, 403):
            return error
        return ProviderUnavailable(
            error.message, provider=self._name, upstream_status=error.upstream_status
        )

    def _renewed(self, stored: _Stored, file: Mapping[str, Any]) -> _Stored | None:
        return self._read(file, is_ours=stored.is_ours, created=stored.created)

    def _read(
        self, file: Mapping[str, Any], *, is_ours: bool, created: float | None = None
    ) -> _Stored | None:
        """`created`: by our own clock, where we know it."""
        name, uri, now = file.get("name"), word(file.get("uri")), self._clock()
        if not is_file_name(name) or uri is None:
            return None
        size = str(file.get("sizeBytes", ""))
        created = created or _moment(file.get("createTime")) or now
        return _Stored(
            name=str(name),
            uri=uri,
            state=word(file.get("state")) or "ACTIVE",
            bytes=int(size) if size.isdecimal() else 0,
            created=min(created, now),
            expires=_moment(file.get("expirationTime")) or created + _GOOGLE_KEEPS_SECONDS,
            is_ours=is_ours,
            problem=failures.scrubbed(word(mapping(file.get("error")).get("message")) or ""),
        )

    # ------------------------------------------------------------ letting it go

    def _is_fresh(self, stored: _Stored) -> bool:
        now = self._clock()
        return now < min(stored.expires - _MARGIN_SECONDS, stored.created + _KEEP_SECONDS)

    def _evict(self) -> None:
        """What is too old, and what was not used for longest when there is too much."""
        idle = [entry for entry in self._entries.values() if entry.users == 0]
        count = len(self._entries)
        size = sum(entry.stored.bytes for entry in self._entries.values() if entry.stored)
        for entry in idle:
            is_old = entry.stored is None or not self._is_fresh(entry.stored)
            if is_old or count > _MAX_FILES or size > _MAX_BYTES:
                count -= 1
                size -= entry.stored.bytes if entry.stored else 0
                self._forget(entry)

    def _forget(self, entry: _Entry) -> None:
        if self._entries.get(key(entry.source)) is entry:
            del self._entries[key(entry.source)]
        self._delete(entry.stored)

    def drop(self, entry: _Entry) -> None:
        """It is no good any more, and is uploaded anew when it is wanted."""
        stored, entry.stored = entry.stored, None
        self._delete(stored)

    def _delete(self, stored: _Stored | None) -> None:
        if stored is not None and stored.is_ours:
            self._keep(asyncio.create_task(self._google.delete(stored.name)))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._evict()


class Held:
    """The files of one call. `uris`: where the model finds them, after `bring`."""

    def __init__(
        self, files: Files, sources: Mapping[Key, Source], entries: Mapping[Key, _Entry]
    ) -> None:
        self._files = files
        self._sources = sources
        self._entries = entries
        self.uris: Uris = {}

    async def bring(self) -> AsyncGenerator[str, None]:
        """All of them, to where the model can use them; says what goes on. Raises ProviderError."""
        news: asyncio.Queue[str] = asyncio.Queue()
        listening = [
            (entry, _listener(self._sources[at], news)) for at, entry in self._entries.items()
        ]
        for entry, listener in listening:
            entry.listeners.append(listener)
        try:
            tasks = {
                at: self._files.start(entry, self._sources[at])
                for at, entry in self._entries.items()
            }
            for task in tasks.values():
                task.add_done_callback(lambda _: news.put_nowait(""))
            while not all(task.done() for task in tasks.values()):
                self._check(tasks)
                if said := await news.get():
                    yield said
            self._check(tasks)
            self.uris = {at: task.result().uri for at, task in tasks.items()}
        finally:
            for entry, listener in listening:
                entry.listeners.remove(listener)

    def distrust(self, words: str) -> None:
        """The model does not find them (any more): those that `words` names, else all. Others may
        have noticed before, and brought them anew: what they brought stays."""
        stored = {
            at: entry.stored
            for at, entry in self._entries.items()
            if entry.stored and entry.stored.uri == self.uris.get(at)
        }
        named = [at for at, file in stored.items() if file.name.removeprefix("files/") in words]
        for at in named or stored:
            self._files.drop(self._entries[at])

    def _check(self, tasks: Mapping[Key, asyncio.Task[_Stored]]) -> None:
        for at, task in tasks.items():
            if not task.done():
                continue
            if task.cancelled():
                raise ProviderUnavailable("Gemini's files are being closed")
            if (error := task.exception()) is not None:
                raise _at(error, self._sources[at])


def _listener(source: Source, news: asyncio.Queue[str]) -> Callable[[str, float], None]:
    def hear(what: str, seconds: float) -> None:
        if what == "uploading":
            size = f"{source.bytes / 1e6:.1f} MB"
            news.put_nowait(f"uploading {source.label} to Gemini ({size})")
        else:
            news.put_nowait(f"waiting for Gemini to process {source.label}: {seconds:.0f} s")

    return hear


def _at(error: BaseException, source: Source) -> BaseException:
    """The error for one of those who waited: it points into their input."""
    own = copy.copy(error).with_traceback(None)
    if isinstance(own, ProviderRejected):
        own.loc = source.loc
    return own


def _moment(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
