"""What the embedded models can take from a prompt: parts, language, time range and form.

No language model reads it. Known phrases are looked for and taken out; whatever is left that is
not mere politeness is what the prompt asks for and will not get, and the caller is told so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from telecine.providers import local_words as words
from telecine.providers.local_report import FormName, PartName
from telecine.providers.local_wish import ALL, Span, Wish

# Longer prompts are not looked at to their end; they ask for more than can be chosen anyway.
_LOOKED_AT_CHARACTERS = 2000
# A prompt of which so many words mean nothing here names parts by accident.
_LEFT_FOR_CHANCE = 8


def understand(prompt: str, offered: Iterable[PartName] = ALL) -> Wish:
    """`offered`: what the model does at all; a prompt that names none of it gets all of it."""
    text = _Text(prompt[:_LOOKED_AT_CHARACTERS])
    span = _span(text)
    form = _form(text)
    language, is_filter = _language(text)
    offered = tuple(offered)
    named, unwanted = _parts(text)
    is_timed = text.take(words.TIMED) is not None
    left = text.left()
    if len(left) > _LEFT_FOR_CHANCE:
        named = {}
    wanted = tuple(part for part in offered if part in named) or tuple(
        part for part in offered if part not in unwanted
    )
    refused = tuple(name for part, name in named.items() if part not in offered)
    if form in ("srt", "vtt"):
        wanted = tuple(p for p in wanted if p in named and p != "shots") or wanted[:1]
    elif form is None:
        is_plain = len(wanted) == 1 and wanted != ("shots",) and not is_timed
        form = "plain" if is_plain else "report"
    return Wish(
        parts=wanted or offered,
        form=form,
        language=language,
        is_filter=is_filter,
        span=span,
        left=(*refused, *left),
    )


class _Text:
    """A prompt that gets shorter as phrases are understood."""

    def __init__(self, prompt: str) -> None:
        self._rest = f" {prompt.casefold()} "

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.search(self._rest)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The first match, taken out together with all others."""
        if match := self.find(pattern):
            self.replace(pattern, " | ")
        return match

    def find_all(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        return pattern.finditer(self._rest)

    def replace(self, pattern: re.Pattern[str], by: str) -> None:
        self._rest = pattern.sub(by, self._rest)

    def left(self) -> list[str]:
        rest = words.FILLER.sub(" ", self._rest)
        return re.findall(r"\d+(?:[:.,]\d+)+|[^\W_]+(?:['\u2019-][^\W_]+)*", rest)


# ---------------------------------------------------------------- parts

# Also "don't transcribe what is said": the same part by two of its names.
_NOT_PARTS: Mapping[PartName, re.Pattern[str]] = {
    part: re.compile(
        rf"\b{words.NOT} (?:{pattern.pattern})"
        rf"(?: (?:(?:the|any|its|what|is|out) )*(?:{pattern.pattern}))*"
    )
    for part, pattern in words.PARTS.items()
}
_NEITHER = re.compile(
    rf"(?P<no>{'|'.join(f'(?:{pattern.pattern})' for pattern in _NOT_PARTS.values())}) n?or "
)


def _parts(text: _Text) -> tuple[dict[PartName, str], frozenset[PartName]]:
    """What is named, with the words that name it, and what is not wanted."""
    text.take(words.TO_TEXT)
    while text.find(_NEITHER):
        text.replace(_NEITHER, r"\g<no> no ")
    unwanted = frozenset(part for part, pattern in _NOT_PARTS.items() if text.take(pattern))
    named: dict[PartName, str] = {}
    if match := text.take(words.FULL_TRANSCRIPTION):
        named["speech"] = match.group()
    for part, pattern in words.PARTS.items():
        if match := text.take(pattern):
            named.setdefault(part, match.group())
    return named, unwanted


# ---------------------------------------------------------------- form


def _form(text: _Text) -> FormName | None:
    for name, pattern in words.FORMS:
        if text.take(pattern):
            return name
    return None


# ---------------------------------------------------------------- language

_LANGUAGE = {code: words.phrases(*names.split("|")) for code, names in words.LANGUAGES.items()}
_PARTS_OF_IT = r"(?: (?:parts?|(?P<speech>speech|speakers?)|words|sections?|sentences?)\b)"
_LANGUAGE_CODE = re.compile(r"\b(?:language|lang|sprache)\s*[:=]\s*([a-z]{2})\b")


def _language(text: _Text) -> tuple[str | None, bool]:
    """The language named, and whether only what is spoken in it is wanted."""
    if text.find(words.TRANSLATE):
        return None, False
    code = text.find(_LANGUAGE_CODE)
    if code and code.group(1) in words.LANGUAGES:
        text.take(_LANGUAGE_CODE)
        return code.group(1), False
    for name, pattern in _LANGUAGE.items():
        part = re.compile(rf"(?:the )?(?:{pattern.pattern}){_PARTS_OF_IT}")
        if text.find(part):
            text.replace(part, r" | \g<speech> | ")
            text.take(words.ONLY)
            return name, True
        if not all(map(_is_of_answer, text.find_all(pattern))):
            text.take(pattern)
            return name, text.take(words.ONLY) is not None
    return None, False


def _is_of_answer(language: re.Match[str]) -> bool:
    """Whether it is the language to answer in ("describe it in English"), not the one spoken."""
    before, after = language.string[: language.start()], language.string[language.end() :]
    sentence = re.split(r"[.!?;]", before)[-1]
    if not words.IN_LANGUAGE.search(sentence):
        return words.ANSWERED.match(after) is not None
    answer, speech = (
        max((match.start() for match in pattern.finditer(sentence)), default=-1)
        for pattern in (words.ANSWER, words.PARTS["speech"])
    )
    return answer > speech


# ---------------------------------------------------------------- time

_NUMBERS = tuple(
    (re.compile(rf"\b{word}(?= {words.TIME_UNIT}\b)"), number)
    for word, number in words.NUMBERS.items()
)


def _span(text: _Text) -> Span:
    for pattern, number in _NUMBERS:
        text.replace(pattern, number)
    for pattern in words.SPANS:
        if match := text.find(pattern):
            span = _span_of(match)
            if span:
                text.take(pattern)
            return span or Span()
    return Span()


def _span_of(match: re.Match[str]) -> Span | None:
    groups = match.groupdict()
    a, b = groups["a"], groups.get("b")
    said = groups.get("unit")
    unit = re.search(r"[^\d\s.,:-]+$", b or a)
    start = _seconds(a, unit.group() if unit else said)
    if b is not None:
        end = _seconds(b, said)
        is_time = said is not None or any(":" in t or re.search(r"[^\d\s.,-]", t) for t in (a, b))
        # "from 5 to 9" may be anything; without a unit or a colon it is no time.
        return Span(start, end) if is_time and end > start else None
    if not (":" in a or unit) or (groups.get("last") and start <= 0):
        return None
    if groups.get("first") or groups.get("until"):
        return Span(0.0, start)
    return Span(-start) if groups.get("last") else Span(start)


def _seconds(time: str, unit: str | None) -> float:
    """`unit` is that of the other end of the range, for "from 5 to 9 minutes"."""
    time = time.strip()
    if time[0].isalpha():
        time = f"1 {time}"
    if ":" in time:
        total = 0.0
        for field in time.split(":"):
            total = total * 60 + float(field)
        return total
    match = re.match(r"(\d+(?:[.,]\d+)?)\s*-?(.*)", time)
    assert match, "the pattern that found it begins with a number"
    is_minutes = (match.group(2) or unit or "s").startswith(("m", "分"))
    return float(match.group(1).replace(",", ".")) * (60 if is_minutes else 1)
