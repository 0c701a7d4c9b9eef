"""What is going on, on stderr; the answer alone is on stdout."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """The newest log line beside a spinner on a terminal, every line otherwise."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.status import Status

            self._status = Status("starting", console=Console(stderr=True))
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hide()

    def say(self, message: str) -> None:
        if self._status:
            from rich.text import Text

            self._status.update(Text(message))  # Text: what a video is called is no markup
        elif not self._is_over:
            typer.echo(message, err=True)

    def hide(self) -> None:
        """Make room for the answer: nothing is shown from here on, if this is a terminal."""
        if self._status:
            self._status.stop()
            self._status, self._is_over = None, True
