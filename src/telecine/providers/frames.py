"""A video as stills and words, for models that see pictures only. Pure.

Each still comes after its time, and what is said comes after the stills of its time: so the model
can say when something happens, and what was heard while it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from telecine.models import Call, FilePart, FramesPart, LinkPart, Still, Words
from telecine.providers.body import Base64

# What the cheapest look of those who ask "how closely" sees anyway.
_LOW_DETAIL_SIDE = 512
_HOUR = 3600


def parts(part: FramesPart, call: Call, *, says_detail: bool) -> list[dict[str, Any]]:
    """Text and `image_url` parts by turns. `says_detail`: the server reads OpenAI's `detail`."""
    made: list[dict[str, Any]] = []
    told = [heading(part, call)]
    for item in timeline(part):
        if isinstance(item, str):
            told.append(item)
            continue
        made.append({"type": "text", "text": "\n".join(told)})
        made.append(_image(item, says_detail=says_detail))
        told = []
    return [*made, {"type": "text", "text": "\n".join(told)}] if told else made


def heading(part: FramesPart, call: Call) -> str:
    """Which video it is, where there are several."""
    videos = [p for p in call.parts if isinstance(p, FilePart | LinkPart | FramesPart)]
    name = f"Video {videos.index(part) + 1}" if len(videos) > 1 else "Video"
    said = ", and what is said" if part.words else ""
    return f"{name}, as stills, each after its time{said}:"


def timeline(part: FramesPart) -> Iterator[str | Still]:
    """Labels, stills and words in order."""
    times = _Times(part)
    waiting = list(part.words)
    for still in part.stills:
        while waiting and waiting[0].end <= still.seconds:
            yield times.said(waiting.pop(0))
        yield times.label(still)
        yield still
    for words in waiting:
        yield times.said(words)


def transcript(part: FramesPart) -> str:
    """The words alone, with their times; empty without any."""
    times = _Times(part)
    return "\n".join(times.said(words) for words in part.words)


class _Times:
    """How the times of one video are written: hours only where it has any, tenths of seconds only
    where two stills would have the same label."""

    def __init__(self, part: FramesPart) -> None:
        seconds = [still.seconds for still in part.stills] + [words.end for words in part.words]
        self._has_hours = any(second >= _HOUR for second in seconds)
        self._has_tenths = _have_twins([still.seconds for still in part.stills])

    def label(self, still: Still) -> str:
        return f"[{self._time(still.seconds, tenths=self._has_tenths)}]"

    def said(self, words: Words) -> str:
        return f"Said {self._time(words.start)}-{self._time(words.end)}: {words.text.strip()}"

    def _time(self, seconds: float, *, tenths: bool = False) -> str:
        whole, tenth = divmod(int(max(seconds, 0) * 10 + 1e-6), 10)
        minutes, second = divmod(whole, 60)
        hours, minute = divmod(minutes, 60)
        text = (
            f"{hours:02}:{minute:02}:{second:02}"
            if self._has_hours
            else f"{minutes:02}:{second:02}"
        )
        return f"{text}.{tenth}" if tenths else text


def _have_twins(seconds: Sequence[float]) -> bool:
    whole = [int(second) for second in seconds]
    return len(set(whole)) < len(whole)


def _image(still: Still, *, says_detail: bool) -> dict[str, Any]:
    image: dict[str, Any] = {"url": Base64(still.path, "data:image/jpeg;base64,")}
    if says_detail:
        is_small = max(still.width, still.height) <= _LOW_DETAIL_SIDE
        image["detail"] = "low" if is_small else "high"
    return {"type": "image_url", "image_url": image}
