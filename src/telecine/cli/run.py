"""telecine run: an answer in the terminal, with or without a server."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from telecine.cli import common
from telecine.cli.common import AsJson, ConfigFile, DataDir, Failed
from telecine.cli.progress import Progress

if TYPE_CHECKING:
    from telecine.models import Attachment, Event, Outcome, Request
    from telecine.settings import Settings

ENDPOINT = "openrouter/router/video"

Answer = dict[str, Any]


def run(
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO...", help="Files, or URLs of videos.")
    ],
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="What to do with them.", show_default=False)
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="As `telecine models` shows it.")
    ] = "local/report",
    stream: Annotated[bool, typer.Option("--stream", help="Print text as it is found.")] = False,
    as_json: AsJson = False,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask a running Telecine, with the key in TELECINE_KEY or FAL_KEY; "
            "without it no server is needed.",
            show_default=False,
        ),
    ] = None,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Ask a model about videos; progress goes to stderr, the answer to stdout.

    With --json: output, usage and the receipt that says what the model was given.
    """
    sources = [source(name) for name in videos]
    document: dict[str, Any] = {"prompt": prompt, "model": model, "receipt": as_json}
    settings = common.load(config, data)
    with Progress() as progress:
        printer = _Printer(progress, is_streaming=stream and not as_json)
        if server is None:
            answer = common.run(_here(settings, document, sources, printer))
        else:
            answer = common.run(_there(server, document, sources, printer))
    printer.finish(answer, as_json=as_json)


class _Printer:
    """Text as it comes, if that is asked for, and what is left of the answer at the end."""

    def __init__(self, progress: Progress, *, is_streaming: bool) -> None:
        self._progress = progress
        self.is_streaming = is_streaming
        self._printed = ""

    def log(self, message: str) -> None:
        self._progress.say(message)

    def text(self, output: str) -> None:
        """`output` is all the text so far."""
        if self.is_streaming and output.startswith(self._printed):
            if sys.stdout.isatty():
                self._progress.hide()
            self._write(output[len(self._printed) :])
            self._printed = output

    def finish(self, answer: Answer, *, as_json: bool) -> None:
        if as_json:
            common.print_json(answer)
            return
        self._write(answer["output"][len(self._printed) :])
        if not answer["output"].endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def source(name: str) -> str | Path:
    """A URL as it is, anything else as the file it must be. Raises Failed."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", name) and not Path(name).is_file():
        return name
    path = Path(name).expanduser()
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise Failed(f"{name}: {what}", code=2)
    if not os.access(path, os.R_OK):
        raise Failed(f"{name}: can not be read", code=2)
    return path


# ---------------------------------------------------------------- without a server


async def _here(
    settings: Settings, document: dict[str, Any], sources: list[str | Path], printer: _Printer
) -> Answer:
    from telecine import wire
    from telecine.cli.parts import opened_inference
    from telecine.models import Outcome

    request = request_for(document, sources)
    outcome = Outcome()
    async with opened_inference(settings) as inference:
        async with aclosing(inference.run(request)) as events:
            await _follow(events, outcome, printer)
    answer: Answer = json.loads(wire.result(request, outcome).body)
    return answer


def request_for(document: dict[str, Any], sources: list[str | Path]) -> Request:
    """A request of the command line's own: its files are read where they lie."""
    from telecine.models import Caller, Request

    attachments = {uuid.uuid4().hex: _attachment(path) for path in sources if _is_path(path)}
    placeholders = iter(attachments)
    urls = [next(placeholders) if _is_path(each) else each for each in sources]
    return Request(
        id=str(uuid.uuid4()),
        endpoint=ENDPOINT,
        mode="stream",
        caller=Caller("command-line"),
        document={**document, "video_urls": urls},
        attachments=attachments,
    )


async def _follow(events: AsyncGenerator[Event, None], outcome: Outcome, printer: _Printer) -> None:
    from telecine.models import Delta, Done, Log, Receipt, Usage

    async for event in events:
        match event:
            case Log():
                printer.log(event.message)
            case Delta():
                outcome.output += event.text
                outcome.reasoning += event.reasoning
                printer.text(outcome.output)
            case Usage():
                outcome.usage = event
            case Receipt():
                outcome.receipt = event
            case Done():
                outcome.finish_reason, outcome.is_done = event.finish_reason, True


def _is_path(source: str | Path) -> bool:
    return isinstance(source, Path)


def _attachment(source: str | Path) -> Attachment:
    from telecine.models import Attachment

    path = Path(source)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Attachment(
        content_type=content_type(path),
        found="path",
        origin=path.name,
        bytes=path.stat().st_size,
        sha256=digest,
        path=path.absolute(),
    )


def content_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


# ---------------------------------------------------------------- with one


async def _there(
    server: str, document: dict[str, Any], sources: list[str | Path], printer: _Printer
) -> Answer:
    from telecine.cli.remote import Remote

    key = os.environ.get("TELECINE_KEY") or os.environ.get("FAL_KEY")
    async with Remote(server, key=key) as remote:
        urls = []
        for source in sources:
            if isinstance(source, Path):
                printer.log(f"uploading {source.name}")
                urls.append(await remote.upload(source, content_type(source)))
            else:
                urls.append(source)
        document = {**document, "video_urls": urls}
        if printer.is_streaming:
            return await remote.stream(ENDPOINT, document, on_text=printer.text)
        return await remote.subscribe(ENDPOINT, document, on_log=printer.log)
