"""What a prompt asks of the embedded models; `local_prompt` reads it out of the words."""

from __future__ import annotations

from dataclasses import dataclass

from telecine.providers.local_report import FormName, PartName

ALL: tuple[PartName, ...] = ("speech", "text", "shots")


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds of each video. A negative `start` counts from its end."""

    start: float = 0.0
    end: float | None = None

    def covers(self, seconds: float) -> bool:
        return self.start <= seconds and (self.end is None or seconds < self.end)

    def within(self, seconds: float | None) -> Span | None:
        """The same from the start of a video this long; None: its length must be known."""
        if self.start >= 0:
            return self
        return None if seconds is None else Span(max(0.0, seconds + self.start), seconds)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a prompt is understood.

    `language` is what the speech is expected to be in; with `is_filter` nothing else is reported.
    `left` are the words that nothing could be made of.
    """

    parts: tuple[PartName, ...] = ALL
    form: FormName = "report"
    language: str | None = None
    is_filter: bool = False
    span: Span = Span()
    left: tuple[str, ...] = ()
