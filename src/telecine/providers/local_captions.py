"""From lines of text in single frames to captions: what was on the screen, from when to when.

Frames are a second apart and a reader errs, so lines are joined over time: the same line misread
is one caption, a line that grows as it is typed or fades in is its last form, and a clock that
shows another number in every frame is one caption with many readings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

_MIN_SCORE = 0.85
# Seen in a single frame, as the last frame's or a quick title: it must be plain, and a word.
_ONCE_MIN_SCORE = 0.95
_ONCE_MIN_CHARACTERS = 4

_SAME_RATIO = 0.88
_SAME_MIN_CHARACTERS = 6
_FRAGMENT_SHARE = 0.75
_ROW = 0.05
_COLUMN = 0.15
_FRAMES_MISSED = 2.5
_CLOCK_FRAMES = 2

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Line:
    """One line in one frame; `top` and `left` are in parts of the frame's height and width."""

    text: str
    score: float
    top: float
    left: float


@dataclass(frozen=True, slots=True)
class Caption:
    """Text that was on the screen in the frames from `start` to `end`.

    `texts` has one entry, or the successive readings of a clock or counter.
    """

    start: float
    end: float
    texts: tuple[str, ...]


@dataclass(slots=True)
class _Track:
    first: float
    last: float
    line: Line
    frames: int = 0
    current_frames: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    best: dict[str, float] = field(default_factory=dict)
    readings: list[str] = field(default_factory=list)

    def see(self, line: Line, seconds: float) -> None:
        if not self.readings or not _same_digits(self.readings[-1], line.text):
            self.readings.append(line.text)
            self.current_frames = 0
        self.current_frames += 1
        self.frames += 1
        self.last, self.line = seconds, line
        self.texts[line.text] += 1
        self.best[line.text] = max(line.score, self.best.get(line.text, 0.0))

    @property
    def is_clock(self) -> bool:
        return len(self.readings) > 1

    @property
    def is_certain(self) -> bool:
        if self.frames > 1:
            return True
        text, score = next(iter(self.best.items()))
        return score >= _ONCE_MIN_SCORE and len(_folded(text)) >= _ONCE_MIN_CHARACTERS

    def caption(self) -> Caption:
        texts = tuple(self.readings) if self.is_clock else (self._text(),)
        return Caption(self.first, self.last, texts)

    def _text(self) -> str:
        """What was read most often; but the whole line rather than the part that had faded in."""
        best = max(self.texts, key=lambda text: (self.texts[text], self.best[text]))
        whole = [text for text in self.texts if _folded(best) in _folded(text)]
        return max(whole, key=lambda text: (len(_folded(text)), self.texts[text]))


class Captions:
    """Frames in, captions out, in the order in which they appeared.

    One that stays holds back those that came after it: the list is worth its order.
    """

    def __init__(self, frame_seconds: float = 1.0) -> None:
        self._patience = _FRAMES_MISSED * frame_seconds
        self._frame_seconds = frame_seconds
        self._open: list[_Track] = []
        self._closed: list[_Track] = []
        self._lines: list[Line] = []

    def see(self, seconds: float, lines: Iterable[Line] | None) -> Iterator[Caption]:
        """`None`: the frame looks as the one before."""
        if lines is not None:
            self._lines = [
                line for line in lines if line.score >= _MIN_SCORE and _folded(line.text)
            ]
        free = list(self._open)
        for line in self._lines:
            track = _matching(line, free, seconds, self._patience)
            if track:
                free.remove(track)
            else:
                track = _Track(seconds, seconds, line)
                self._open.append(track)
            track.see(line, seconds)
        self._close(seconds - self._patience)
        yield from self._settled(min((t.first for t in self._open), default=seconds))

    def finish(self) -> Iterator[Caption]:
        self._close(float("inf"))
        yield from self._settled(float("inf"))

    def _close(self, before: float) -> None:
        self._closed += [track for track in self._open if track.last < before]
        self._open = [track for track in self._open if track.last >= before]

    def _settled(self, before: float) -> Iterator[Caption]:
        """Captions that began before anything that is still open did."""
        ready = [track for track in self._closed if track.first < before]
        known = self._closed + self._open
        self._closed = [track for track in self._closed if track.first >= before]
        ready.sort(key=lambda track: (track.first, track.line.top, track.line.left))
        for track in ready:
            if track.is_certain and not self._is_fragment(track, known):
                yield track.caption()

    def _is_fragment(self, track: _Track, known: Iterable[_Track]) -> bool:
        """Half of a line that was fading in or out: a neighbour in time and place has the whole."""
        if track.frames > 1:
            return False
        near = 2 * self._frame_seconds
        return any(
            other.frames > 1
            and other.first - near <= track.first <= other.last + near
            and abs(other.line.top - track.line.top) < _ROW
            and _share(track.line.text, other.line.text) >= _FRAGMENT_SHARE
            for other in known
            if other is not track
        )


def _matching(
    line: Line, tracks: Iterable[_Track], seconds: float, patience: float
) -> _Track | None:
    recent = [track for track in tracks if seconds - track.last <= patience]
    for is_match in (_is_equal, _is_same, _is_part, _is_next_reading):
        for track in recent:
            if is_match(line, track):
                return track
    return None


def _is_equal(line: Line, track: _Track) -> bool:
    return _folded(line.text) == _folded(track.line.text)


def _is_same(line: Line, track: _Track) -> bool:
    """The same line, read a little differently. Other digits are another text."""
    one, other = _folded(line.text), _folded(track.line.text)
    return (
        min(len(one), len(other)) >= _SAME_MIN_CHARACTERS
        and _same_digits(line.text, track.line.text)
        and SequenceMatcher(None, one, other, autojunk=False).ratio() >= _SAME_RATIO
    )


def _is_part(line: Line, track: _Track) -> bool:
    """A line that is being typed, or is fading in or out, in its place."""
    one, other = sorted((_folded(line.text), _folded(track.line.text)), key=len)
    return (
        len(one) >= _ONCE_MIN_CHARACTERS
        and one in other
        and _same_digits(line.text, track.line.text)
        and abs(line.top - track.line.top) < _ROW
    )


def _is_next_reading(line: Line, track: _Track) -> bool:
    return (
        _DIGITS.search(line.text) is not None
        and _DIGITS.sub("0", line.text) == _DIGITS.sub("0", track.line.text)
        and track.current_frames <= _CLOCK_FRAMES
        and abs(line.top - track.line.top) < _ROW
        and abs(line.left - track.line.left) < _COLUMN
    )


def _share(part: str, whole: str) -> float:
    """How much of `part` is found in `whole`, in order."""
    one, other = _folded(part), _folded(whole)
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(one) if one else 0.0


def _same_digits(one: str, other: str) -> bool:
    return _DIGITS.findall(one) == _DIGITS.findall(other)


def _folded(text: str) -> str:
    """Letters and digits alone: readers are unsure of spaces, dots and case."""
    return "".join(c for c in text.casefold() if c.isalnum())
