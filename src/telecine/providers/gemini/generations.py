"""What Gemini models take, by their names: the model list tells no more than their windows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from telecine.models import Capabilities, Effort, Form, TokenRates

_NAME = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])")
# They speak, draw, embed or see pictures only; whatever the number, no video is looked at.
_OTHERS = re.compile(r"-tts\b|-live\b|-native-audio|embedding|-image\b|computer-use|^gemma")
# `gemini-flash-latest` and its like are whatever is newest.
_NEWEST = (3, 0)
# Of any other name: the words of this one are understood by all that came after it, too.
_ANY = (2, 5)

_OPTIONS = frozenset(
    {
        "fps",
        "start",
        "end",
        "max_frames",
        "resolution",
        "response_format",
        "seed",
        "stop",
        "temperature",
    }
)
_IMAGES = ("png", "jpeg", "webp")
_AUDIO = ("wav", "mp3", "flac", "ogg", "aac", "aiff")
_MAX_FILE_BYTES = 2_000_000_000
_RATES_2 = TokenRates(frame={"low": 66, "medium": 258, "high": 258}, audio_second=32, image=258)
_RATES_3 = TokenRates(frame={"low": 70, "medium": 70, "high": 280}, audio_second=32, image=1120)

_BUDGETS: Mapping[Effort, int] = {
    "none": 0,
    "minimal": 512,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}


@dataclass(frozen=True, slots=True)
class Generation:
    """What is true of all models that share a number."""

    model: str
    number: tuple[int, int]

    @property
    def thinks(self) -> bool:
        return self.number >= (2, 5)

    @property
    def has_levels(self) -> bool:
        """Thinking and resolution are told in words, the latter for each part."""
        return self.number >= (3, 0)

    @property
    def max_links(self) -> int:
        """YouTube videos in one request."""
        return 10 if self.number >= (2, 5) else 1

    @property
    def always_thinks(self) -> bool:
        return self.thinks and "pro" in self.model

    def thinking(self, effort: Effort) -> dict[str, Any]:
        """How much of it, in the words of this generation."""
        if self.has_levels:
            return {"thinkingLevel": self._level(effort)}
        most, least = (32_768, 128) if self.always_thinks else (24_576, 0)
        return {"thinkingBudget": max(least, min(most, _BUDGETS[effort]))}

    def _level(self, effort: Effort) -> str:
        if effort in ("none", "minimal"):
            return "low" if self.always_thinks else "minimal"
        if effort == "medium" and self.always_thinks and self.number == (3, 0):
            return "high"  # the first Pro of the generation knows two levels
        return effort if effort in ("low", "medium") else "high"

    def capabilities(self, context: int | None, output: int | None) -> Capabilities:
        """`context`, `output`: the windows, as the model list tells them."""
        if _OTHERS.search(self.model):
            return Capabilities(
                delivery=(), images=_IMAGES, context_tokens=context, max_output_tokens=output
            )
        delivery: tuple[Form, ...] = (
            ("file", "link", "url") if self.has_levels else ("file", "link")
        )
        return Capabilities(
            delivery=delivery,
            images=_IMAGES,
            audio=_AUDIO,
            pdfs=True,
            hears=True,
            options=_OPTIONS | {"effort"} if self.thinks else _OPTIONS,
            max_videos=10,
            max_bytes=_MAX_FILE_BYTES,
            context_tokens=context,
            max_output_tokens=output,
            rates=_RATES_3 if self.has_levels else _RATES_2,
        )


def generation(model: str) -> Generation:
    found = _NAME.match(model)
    if found:
        return Generation(model, (int(found[1]), int(found[2] or 0)))
    return Generation(model, _NEWEST if model.startswith("gemini-") else _ANY)
