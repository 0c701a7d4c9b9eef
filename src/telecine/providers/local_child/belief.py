"""What is not believed of what Whisper says: languages out of thin air, and words out of noise."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from telecine.providers.local_child.regions import Guess

_MAX_COMPRESSION = 2.4
_MIN_LOGPROB = -1.0
_DOUBTED_LOGPROB = -0.7
_DOUBTED_NO_SPEECH = 0.6
_SURE_LOGPROB = -0.35
_SURE_NO_SPEECH = 0.3
_CREDITS_CHARACTERS = 100

# What whisper base can write. The others it knows (Welsh, Latin, Nynorsk, Hawaiian, ...) are what
# it takes noise and accents for; a prompt that names one gets it.
LANGUAGES = frozenset(
    (
        *("ar", "bg", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi"),
        *("hr", "hu", "id", "it", "ja", "ko", "lt", "lv", "ms", "nl", "no", "pl", "pt", "ro", "ru"),
        *("sk", "sl", "sr", "sv", "ta", "th", "tl", "tr", "uk", "ur", "vi", "zh"),
    )
)
# Close relatives that it confuses: the small one's probability goes to the large one.
_RELATIVES = {"gl": "es", "nn": "no", "yue": "zh", "bs": "hr"}

# What it learned from subtitle files and says over music and noise.
_CREDITS = re.compile(
    r"amara\.org|www\.\w+\.(com|org|net)|"
    r"^\W*(untertitel|untertitelung|sous-titr\w+|subtitles?|subtítulos|sottotitoli|legendas|napisy)"
    r"\s+(by|von|der|des|im auftrag|réalisés|par|por|de|a cura|da|stworzone)\b|"
    r"^\W*(thanks?( you)?( so much)? for watching|please subscribe)\b|"
    r"ご視聴ありがとう|字幕|請不吝點贊|시청해\s?주셔서|субтитр",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What Whisper made of a window, with its own figures on how far to believe it."""

    pieces: tuple[tuple[float, float, str], ...]
    logprob: float
    no_speech: float

    @property
    def text(self) -> str:
        return "".join(text for _, _, text in self.pieces).strip()


def likeliest(likely: Iterable[tuple[str, float]], expected: str | None) -> Guess:
    """The best of the languages that make sense here, with its share among them."""
    shares: dict[str, float] = {}
    for name, probability in likely:
        language = name if name == expected else _RELATIVES.get(name, name)
        if language in LANGUAGES or language == expected:
            shares[language] = shares.get(language, 0.0) + probability
    total = sum(shares.values()) or 1.0
    best = max(shares, key=shares.__getitem__, default=expected or "en")
    probability = shares.get(best, 0.0) / total
    if expected and best != expected and probability < 0.95:
        return Guess(expected, 1.0)
    return Guess(best, probability)


def is_doubtful(heard: Hypothesis) -> bool:
    """Repeats itself, or is improbable word for word."""
    return compression(heard.text) > _MAX_COMPRESSION or heard.logprob < _MIN_LOGPROB


def is_believable(heard: Hypothesis, seconds: float) -> bool:
    """Whether these are words that were spoken, and not what Whisper makes of music and noise."""
    if not any(c.isalnum() for c in heard.text) or is_doubtful(heard):
        return False
    if _CREDITS.search(heard.text) and len(heard.text) < _CREDITS_CHARACTERS:
        return heard.logprob > _SURE_LOGPROB and heard.no_speech < _SURE_NO_SPEECH
    is_doubted = heard.logprob < _DOUBTED_LOGPROB
    if heard.no_speech > _DOUBTED_NO_SPEECH and is_doubted:
        return False
    return not (is_doubted and seconds < 2 and len(heard.text.split()) <= 3)


def compression(text: str) -> float:
    """Far above 2 when a phrase is repeated over and over."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0
