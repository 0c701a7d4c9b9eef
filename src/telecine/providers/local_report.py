"""The answer's form: a report, plain text, SRT, WebVTT or JSON, written as things are found."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from telecine.providers.local_captions import Caption

FormName = Literal["report", "plain", "srt", "vtt", "json"]
MediumName = Literal["video", "image", "audio"]
PartName = Literal["speech", "text", "shots"]

_TITLES: Mapping[PartName, str] = {
    "speech": "Speech",
    "text": "On-screen text",
    "shots": "Shots",
}
_NOUNS: Mapping[MediumName, str] = {"video": "Video", "image": "Image", "audio": "Sound"}
_KEYS: Mapping[PartName, str] = {"speech": "speech", "text": "on_screen_text", "shots": "shots"}
_HAN_AND_KANA = r"\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"[{_HAN_AND_KANA}]|[^\s{_HAN_AND_KANA}]+")
_UNSPACED = frozenset({"zh", "ja", "th"})
_SHOWN_READINGS = 12
_MIN_CUE_SECONDS = 0.001
_CUE_SECONDS = 1.0  # a caption was there for at least as long as frames are apart


@dataclass(frozen=True, slots=True)
class Said:
    """Words, and when."""

    start: float
    end: float
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Shots:
    """How a video is cut; times are those of the first frame after each cut."""

    cuts: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.cuts) + 1


class Form(Protocol):
    """Turns findings into the next piece of the answer.

    For each medium in order: `begin`, then per chosen part its findings, and `nothing` where there
    are none, then `end`. `open` and `close` enclose all. The captions of an image have no times.
    """

    def open(self) -> str: ...

    def begin(self, seconds: float | None, medium: MediumName = "video") -> str: ...

    def said(self, said: Said) -> str: ...

    def caption(self, caption: Caption) -> str: ...

    def shots(self, shots: Shots) -> str: ...

    def nothing(self, part: PartName, why: str) -> str: ...

    def end(self) -> str: ...

    def close(self) -> str: ...


def form(name: FormName, *, media: Sequence[MediumName], parts: Sequence[PartName]) -> Form:
    match name:
        case "report":
            return Report(_Headings(media))
        case "plain":
            return Plain(_Headings(media))
        case "json":
            return Json("videos" if set(media) <= {"video"} else "media")
        case "srt" | "vtt":
            is_mixed = {"speech", "text"} <= set(parts)
            return Cues(name, headings=_Headings(media), is_mixed=is_mixed)


class _Headings:
    """Names the media where there are several: "Video 2 (11.0 s):"."""

    def __init__(self, media: Sequence[MediumName]) -> None:
        self.is_needed = len(media) > 1
        self.title = ""
        self._numbers: Counter[MediumName] = Counter()

    def next(self, medium: MediumName, seconds: float | None) -> str:
        """The heading of the next one; empty when it is the only one."""
        is_first = not self._numbers
        self._numbers[medium] += 1
        self.title = f"{_NOUNS[medium]} {self._numbers[medium]}"
        if not self.is_needed:
            return ""
        length = "" if seconds is None else f" ({seconds:.1f} s)"
        return f"{'' if is_first else chr(10)}{self.title}{length}:\n"


class Report:
    """For people: a heading per part, a line per finding, with times."""

    def __init__(self, headings: _Headings) -> None:
        self._headings = headings
        self._heading: str | None = None
        self._is_timed = True

    def open(self) -> str:
        return ""

    def begin(self, seconds: float | None, medium: MediumName = "video") -> str:
        self._heading = None
        self._is_timed = medium != "image"
        return self._headings.next(medium, seconds)

    def said(self, said: Said) -> str:
        times = f"[{clock(said.start)}-{clock(said.end)}]"
        return self._under(f"Speech ({said.language}):") + f"  {times} {said.text}\n"

    def caption(self, caption: Caption) -> str:
        """Always in quotes: it is what the picture says, whatever it says to the reader."""
        if not self._is_timed:
            return self._under("Text in the image:") + f"  {_quoted(caption)}\n"
        times = clock(caption.start)
        if caption.end > caption.start:
            times += f"-{clock(caption.end)}"
        return self._under("On-screen text:") + f"  [{times}] {_quoted(caption)}\n"

    def shots(self, shots: Shots) -> str:
        cuts = ", ".join(clock(cut) for cut in shots.cuts)
        if not cuts:
            return "Shots: 1 (no cuts)\n"
        return f"Shots: {shots.count} ({'cut' if shots.count == 2 else 'cuts'} at {cuts})\n"

    def nothing(self, part: PartName, why: str) -> str:
        return f"{_TITLES[part]}: {why}\n"

    def end(self) -> str:
        return ""

    def close(self) -> str:
        return ""

    def _under(self, heading: str) -> str:
        if heading == self._heading:
            return ""
        self._heading = heading
        return f"{heading}\n"


class Plain:
    """The words alone: speech as running text, on-screen text line by line."""

    def __init__(self, headings: _Headings) -> None:
        self._headings = headings
        self._language: str | None = None
        self._is_line_open = False

    def open(self) -> str:
        return ""

    def begin(self, seconds: float | None, medium: MediumName = "video") -> str:
        self._language, self._is_line_open = None, False
        return self._headings.next(medium, seconds)

    def said(self, said: Said) -> str:
        before = ""
        if self._is_line_open:
            before = "" if said.language in _UNSPACED else " "
            if said.language != self._language:
                before = "\n"
        self._language, self._is_line_open = said.language, True
        return before + said.text

    def caption(self, caption: Caption) -> str:
        return self._ended() + "\n".join(caption.texts) + "\n"

    def shots(self, shots: Shots) -> str:
        return self._ended() + " ".join(clock(time) for time in (0.0, *shots.cuts)) + "\n"

    def nothing(self, part: PartName, why: str) -> str:
        return self._ended() + f"({_TITLES[part].lower()}: {why})\n"

    def end(self) -> str:
        return self._ended()

    def close(self) -> str:
        return ""

    def _ended(self) -> str:
        was_open, self._is_line_open = self._is_line_open, False
        return "\n" if was_open else ""


class Cues:
    """SRT and WebVTT. Where speech and on-screen text are mixed, cues wait to be put in order."""

    def __init__(self, kind: Literal["srt", "vtt"], *, headings: _Headings, is_mixed: bool) -> None:
        self._kind = kind
        self._headings = headings
        self._is_mixed = is_mixed
        self._cue = 0
        self._waiting: list[tuple[float, float, str]] = []
        self._seconds: float | None = None

    def open(self) -> str:
        return "WEBVTT\n\n" if self._kind == "vtt" else ""

    def begin(self, seconds: float | None, medium: MediumName = "video") -> str:
        self._seconds = seconds
        heading = self._headings.next(medium, seconds).strip().rstrip(":")
        return f"NOTE {heading}\n\n" if heading and self._kind == "vtt" else ""

    def said(self, said: Said) -> str:
        return self._add(said.start, said.end, said.text)

    def caption(self, caption: Caption) -> str:
        """A clock gets one cue, with the readings it is shown with in a report."""
        text = caption.texts[0] if len(caption.texts) == 1 else _quoted(caption)
        return self._add(caption.start, caption.end + _CUE_SECONDS, text)

    def shots(self, shots: Shots) -> str:
        return ""

    def nothing(self, part: PartName, why: str) -> str:
        return ""

    def end(self) -> str:
        waiting, self._waiting = sorted(self._waiting, key=lambda cue: cue[0]), []
        return "".join(self._written(*cue) for cue in waiting)

    def close(self) -> str:
        return ""

    def _add(self, start: float, end: float, text: str) -> str:
        if self._is_mixed:
            self._waiting.append((start, end, text))
            return ""
        return self._written(start, end, text)

    def _written(self, start: float, end: float, text: str) -> str:
        self._cue += 1
        text = re.sub(r"\s+", " ", text)
        if self._kind == "vtt":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        else:
            text = text.replace("-->", "→")
            if self._headings.is_needed:
                text = f"{self._headings.title}: {text}"
        if self._seconds is not None:
            start = min(start, max(0.0, self._seconds - _MIN_CUE_SECONDS))
            end = min(end, self._seconds)
        end = max(end, start + _MIN_CUE_SECONDS)
        return f"{self._cue}\n{self._time(start)} --> {self._time(end)}\n{text}\n\n"

    def _time(self, seconds: float) -> str:
        whole, milliseconds = divmod(round(seconds * 1000), 1000)
        minutes, rest = divmod(whole, 60)
        hours, minutes = divmod(minutes, 60)
        mark = "," if self._kind == "srt" else "."
        return f"{hours:02}:{minutes:02}:{rest:02}{mark}{milliseconds:03}"


class Json:
    """One document; each medium's lists are written entry by entry."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers: Counter[MediumName] = Counter()
        self._is_timed = True
        self._list: str | None = None

    def open(self) -> str:
        return f'{{"{self._name}": ['

    def begin(self, seconds: float | None, medium: MediumName = "video") -> str:
        comma = ", " if self._numbers else ""
        self._numbers[medium] += 1
        self._is_timed = medium != "image"
        number = None if seconds is None else round(seconds, 3)
        return f'{comma}{{"{medium}": {self._numbers[medium]}, "seconds": {_json(number)}'

    def said(self, said: Said) -> str:
        return self._entry(
            "speech",
            {
                "start": round(said.start, 2),
                "end": round(said.end, 2),
                "language": said.language,
                "text": said.text,
            },
        )

    def caption(self, caption: Caption) -> str:
        times = {"start": round(caption.start, 2), "end": round(caption.end, 2)}
        entry: dict[str, Any] = {**(times if self._is_timed else {}), "text": caption.texts[0]}
        if len(caption.texts) > 1:
            entry["readings"] = list(caption.texts)
        return self._entry("on_screen_text", entry)

    def shots(self, shots: Shots) -> str:
        cuts = [round(cut, 2) for cut in shots.cuts]
        return self._ended() + f', "shots": {_json({"count": shots.count, "cuts": cuts})}'

    def nothing(self, part: PartName, why: str) -> str:
        empty = "[]" if part != "shots" else "null"
        return self._ended() + f', "{_KEYS[part]}": {empty}'

    def end(self) -> str:
        return self._ended() + "}"

    def close(self) -> str:
        return "]}\n"

    def _entry(self, key: str, entry: dict[str, Any]) -> str:
        before = ", "
        if key != self._list:
            before = self._ended() + f', "{key}": ['
            self._list = key
        return before + _json(entry)

    def _ended(self) -> str:
        was_open, self._list = self._list, None
        return "]" if was_open else ""


class Meter:
    """Counts words as tokens (a Chinese or Japanese character is one), and cuts at a limit."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self.tokens = 0
        self.is_full = False

    def take(self, text: str) -> str:
        """As much of `text` as still fits. The limit is exceeded by no more than cutting words."""
        for token in _TOKEN.finditer(text):
            if self._limit is not None and self.tokens >= self._limit:
                self.is_full = True
                return text[: token.start()].rstrip()
            self.tokens += 1
        return text


def count(text: str) -> int:
    meter = Meter()
    meter.take(text)
    return meter.tokens


def clock(seconds: float) -> str:
    """05:07.3, or 1:05:07.3."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02}:{rest // 10:02}.{rest % 10}"
    return f"{hours}:{text}" if hours else text


def _quoted(caption: Caption) -> str:
    texts = [f'"{text}"' for text in caption.texts]
    if len(texts) > _SHOWN_READINGS:
        texts = [*texts[: _SHOWN_READINGS - 2], "...", texts[-1]]
    return ", ".join(texts)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
