"""Videos on YouTube as files, for models that take no links: with yt-dlp, if the operator wants it.

It runs in a process of its own, without any secret of ours, reads no configuration and keeps
nothing on disk: the video comes over a pipe, and is cut off at the cap. It is told to fetch neither
an update nor a component of itself, nor anything that is not on YouTube.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from typing import Protocol

from telecine.errors import SourceUnavailable, TooLarge
from telecine.net import shown_text
from telecine.processes import environment

INSTALL = 'pip install "telecine[youtube]"'

_PIECE_BYTES = 256 * 1024
_SAID_BYTES = 64 * 1024
_SAID_CHARACTERS = 300
# One file with pictures and sound: two would have to be joined.
_FORMAT = "/".join(
    f"best[protocol^=http]{ext}[vcodec!=none][acodec!=none]" for ext in ("[ext=mp4]", "")
)
_OPTIONS = (
    "--ignore-config",
    "--no-update",
    "--no-plugin-dirs",
    "--no-remote-components",
    "--no-cache-dir",
    "--no-playlist",
    "--no-progress",
    "--no-warnings",
    "--color=never",
    "--use-extractors=youtube",
    "--match-filters=!is_live",
    "--socket-timeout=20",
    "--retries=2",
    f"--format={_FORMAT}",
    "--output=-",
)


class Sink(Protocol):
    """Where the bytes go."""

    def write(self, chunk: bytes) -> None: ...


class YouTube:
    """`proxy`: through which it goes out; None: directly. `options`: more of yt-dlp's own."""

    def __init__(self, *, proxy: str | None = None, options: Sequence[str] = ()) -> None:
        # -P: the folder that the server was started in is no place to import from.
        start = (sys.executable, "-P", "-m", "yt_dlp")
        self._command = (*start, *_OPTIONS, *(() if proxy else ("--proxy=",)), *options)
        # In the environment, where other users do not see a login that is in it.
        self._environment = environment(
            PATH=os.defpath, **({"http_proxy": proxy, "https_proxy": proxy} if proxy else {})
        )

    async def download(self, url: str, sink: Sink, *, max_bytes: int, max_seconds: float) -> None:
        """The video at `url`, a link of YouTube's, into `sink`; `max_seconds` is for all of it.

        Raises SourceUnavailable with the reason that YouTube gives, TooLarge, and what `sink.write`
        raises.
        """
        if importlib.util.find_spec("yt_dlp") is None:
            raise SourceUnavailable(
                f"This server is to fetch videos from YouTube and can not: run {INSTALL}"
            )
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "--",
            url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env=self._environment,
            start_new_session=True,
        )
        said = asyncio.create_task(_said(process), name="what yt-dlp says")
        try:
            async with asyncio.timeout(max_seconds):
                size = await _pour(process, sink, max_bytes)
                status = await process.wait()
        except TimeoutError as error:
            raise SourceUnavailable(
                f"The download from YouTube took longer than {max_seconds:g} s"
            ) from error
        finally:
            await asyncio.shield(_end(process))
            why = await asyncio.shield(said)
        if status or not size:
            raise SourceUnavailable(f"YouTube does not give out this video: {_reason(why)}")


async def _pour(process: Process, sink: Sink, max_bytes: int) -> int:
    assert process.stdout
    size = 0
    while piece := await process.stdout.read(_PIECE_BYTES):
        size += len(piece)
        if size > max_bytes:
            raise TooLarge(
                f"The video on YouTube is larger than {max_bytes} bytes (TELECINE_MEDIA_MAX_BYTES)",
                ctx={"max_size": max_bytes},
            )
        sink.write(piece)
    return size


async def _said(process: Process) -> str:
    """The beginning of what it writes to standard error; all of it is read."""
    assert process.stderr
    kept = bytearray()
    while piece := await process.stderr.read(_PIECE_BYTES):
        kept += piece[: _SAID_BYTES - len(kept)]
    return kept.decode(errors="replace")


def _reason(said: str) -> str:
    """The sentence of the error, without the name of the part that says it."""
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")]
    sentence = errors[-1].removeprefix("ERROR:").strip() if errors else "it says no reason"
    return shown_text(sentence.partition("] ")[2] or sentence, _SAID_CHARACTERS)


async def _end(process: Process) -> None:
    """It, and what it may have started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
