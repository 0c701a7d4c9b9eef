"""From probabilities to stretches of speech, and from those to turns of one language.

Whisper drops the second language of a window that holds two, and loops on long silences; so it is
given turns: speech of one language, without a long pause, short enough for one window.
All of it works as the sound comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FRAME_SECONDS = 512 / 16000

_SPEECH = 0.5
_STILL_SPEECH = 0.35
_GAP_SECONDS = 0.3
_SHORTEST_SECONDS = 0.2
_LONGEST_SECONDS = 12.0
_CUT_WITHIN_SECONDS = 6.0
_MARGIN_SECONDS = 0.2

_TURN_SECONDS = 20.0
_PAUSE_SECONDS = 2.5
_TELLING_SECONDS = 1.0  # shorter regions say nothing about their language
_SURE = 0.5
_SURE_OF_A_SWITCH = 0.8


@dataclass(frozen=True, slots=True)
class Region:
    """Somebody speaks without a pause. `start` and `end` include a margin of silence."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Regions:
    """Cuts at every pause over 0.3 s; without one for 12 s, where speech is least likely."""

    def __init__(self, start: float = 0.0) -> None:
        self._origin = start
        self._count = 0
        self._first: int | None = None
        self._last = 0
        self._previous_end = 0
        self._heard: list[float] = []

    def feed(self, probabilities: Iterable[float]) -> Iterator[Region]:
        for probability in probabilities:
            yield from self._feed(probability)
            self._count += 1

    def finish(self) -> Iterator[Region]:
        if self._first is not None:
            yield from self._close(self._first, self._last + 1)

    @property
    def start(self) -> float | None:
        """Where the speech that is going on began; None: nobody speaks."""
        if self._first is None:
            return None
        return self._origin + self._first * FRAME_SECONDS

    @property
    def quiet_seconds(self) -> float:
        """How long nobody has spoken by now."""
        if self._first is not None:
            return 0.0
        return (self._count - self._previous_end) * FRAME_SECONDS

    def _feed(self, probability: float) -> Iterator[Region]:
        if self._first is None:
            if probability < _SPEECH:
                return
            self._first, self._heard = self._count, []
        self._heard.append(probability)
        if probability >= _STILL_SPEECH:
            self._last = self._count
        if (self._count - self._last) * FRAME_SECONDS > _GAP_SECONDS:
            yield from self._close(self._first, self._last + 1)
        elif len(self._heard) * FRAME_SECONDS >= _LONGEST_SECONDS:
            yield self._cut(self._first)

    def _close(self, first: int, after: int) -> Iterator[Region]:
        """The margin after it is half the shortest gap, so it never reaches into what follows."""
        self._first = None
        if (after - first) * FRAME_SECONDS >= _SHORTEST_SECONDS:
            yield self._region(first, after, _GAP_SECONDS / 2)
            self._previous_end = after

    def _cut(self, first: int) -> Region:
        window = int(_CUT_WITHIN_SECONDS / FRAME_SECONDS)
        tail = self._heard[-window:]
        kept = len(self._heard) - len(tail) + min(range(len(tail)), key=tail.__getitem__)
        region = self._region(first, first + kept, 0.0)
        self._previous_end = self._first = first + kept
        self._heard = self._heard[kept:]
        return region

    def _region(self, first: int, after: int, margin_after: float) -> Region:
        pause = (first - self._previous_end) * FRAME_SECONDS
        return Region(
            max(0.0, self._origin + first * FRAME_SECONDS - min(_MARGIN_SECONDS, pause / 2)),
            self._origin + after * FRAME_SECONDS + margin_after,
        )


@dataclass(frozen=True, slots=True)
class Guess:
    """The likeliest language of a region, and how likely."""

    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class Turn:
    """Regions that follow each other closely in one language: what Whisper is given at once."""

    language: str
    regions: tuple[Region, ...]

    @property
    def start(self) -> float:
        return self.regions[0].start

    @property
    def end(self) -> float:
        return self.regions[-1].end


def is_telling(region: Region) -> bool:
    """Whether it is long enough for its language to be guessed."""
    return region.seconds >= _TELLING_SECONDS


class Turns:
    """Groups regions. One whose language is unsure takes that of its neighbours."""

    def __init__(self, language: str = "en") -> None:
        self._default = language
        self._language: str | None = None
        self._open: list[Region] = []
        self._votes: dict[str, float] = {}

    @property
    def start(self) -> float | None:
        """From where on sound is still needed; None: nothing is open."""
        return self._open[0].start if self._open else None

    def add(self, region: Region, guess: Guess | None) -> Iterator[Turn]:
        if self._open and (
            region.end - self._open[0].start > _TURN_SECONDS
            or region.start - self._open[-1].end > _PAUSE_SECONDS
        ):
            yield self._close()
        if guess and is_telling(region):
            if self._is_switch(guess) and self._open:
                yield self._close()
            if guess.probability >= (_SURE_OF_A_SWITCH if self._language else _SURE):
                self._language = guess.language
            weight = guess.probability * region.seconds
            self._votes[guess.language] = self._votes.get(guess.language, 0.0) + weight
        self._open.append(region)

    def pause(self, seconds: float) -> Iterator[Turn]:
        """Nobody has spoken for so long: what is open need not wait for more."""
        if self._open and seconds > _PAUSE_SECONDS:
            yield self._close()

    def finish(self) -> Iterator[Turn]:
        if self._open:
            yield self._close()

    def _is_switch(self, guess: Guess) -> bool:
        return (
            self._language is not None
            and guess.language != self._language
            and guess.probability >= _SURE_OF_A_SWITCH
        )

    def _close(self) -> Turn:
        voted = max(self._votes, key=self._votes.__getitem__, default=self._default)
        turn = Turn(self._language or voted, tuple(self._open))
        self._open, self._votes = [], {}
        return turn


def unheard(turn: Turn, since: float) -> float:
    """Seconds of speech in `turn` after `since`."""
    return sum(max(0.0, region.end - max(region.start, since)) for region in turn.regions)
