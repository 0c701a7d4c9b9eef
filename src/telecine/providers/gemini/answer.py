"""The pieces of Gemini's answer, added up. Pure: parsed JSON in, what it means out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from telecine.models import Delta, Upstream, Usage
from telecine.providers import failures
from telecine.providers.failures import Failure
from telecine.providers.values import count, first, items, mapping, word

_BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
_FINISHED = {"STOP": "stop", "MAX_TOKENS": "length"}


class Answer:
    """What one answer has come to so far: see exchange.Reading.

    `odd_ending`: the model's own word for an end that is none of those known.
    """

    max_bytes = 8 * 1024 * 1024
    parse_float: Callable[[str], Any] = Decimal

    def __init__(self, *, wants_reasoning: bool) -> None:
        self.upstream = Upstream()
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.has_text = False
        self.has_reasoning = False
        self.is_ended = False
        self.odd_ending = ""
        self._wants_reasoning = wants_reasoning

    @property
    def is_complete(self) -> bool:
        """Only a finish reason says so: a stream that just ends was cut."""
        return self.upstream.finish_reason is not None

    @property
    def has_begun(self) -> bool:
        return self.has_text or self.has_reasoning

    @property
    def is_paid_for(self) -> bool:
        return self.usage is not None and bool(self.usage.completion_tokens)

    @property
    def is_blocked(self) -> bool:
        """Never without saying why: see `failure`."""
        return False

    def take(self, chunk: Any) -> Delta | None:
        """What is new in `chunk`: a response, or a list of them as without `alt=sse`."""
        pieces = chunk if isinstance(chunk, list) and chunk else [chunk]
        deltas = [delta for piece in pieces if (delta := self._take(piece))]
        if not deltas:
            return None
        return Delta(
            "".join(delta.text for delta in deltas), "".join(delta.reasoning for delta in deltas)
        )

    def _take(self, response: Any) -> Delta | None:
        if not isinstance(response, Mapping):
            self.failure = Failure(status=502, message="an answer that is not a JSON object")
            return None
        if response.get("error"):
            self.failure = failures.read(response)
            return None
        if (told := mapping(_either(response, "usageMetadata"))) and (counted := usage(told)):
            self.usage = counted
        candidate = first(response.get("candidates"))
        delta = self._delta(candidate)
        self._note(response, candidate)
        self._note_block(response, candidate)
        return delta

    def _delta(self, candidate: Mapping[str, Any]) -> Delta | None:
        parts = items(mapping(candidate.get("content")).get("parts"))
        said = [part for part in parts if isinstance(part, Mapping)]
        text = "".join(_texts(part for part in said if part.get("thought") is not True))
        reasoning = "".join(_texts(part for part in said if part.get("thought") is True))
        self.has_text = self.has_text or bool(text)
        self.has_reasoning = self.has_reasoning or bool(reasoning)
        if not self._wants_reasoning:
            reasoning = ""
        return Delta(text, reasoning) if text or reasoning else None

    def _note(self, response: Mapping[str, Any], candidate: Mapping[str, Any]) -> None:
        now = self.upstream
        reason = word(_either(candidate, "finishReason"))
        news = Upstream(
            id=word(_either(response, "responseId")) or now.id,
            model=word(_either(response, "modelVersion")) or now.model,
            finish_reason=_finish(reason) if reason else now.finish_reason,
        )
        if news != now:
            self.upstream = news
        if reason and reason not in _FINISHED and reason not in _BLOCKED:
            self.odd_ending = reason

    def _note_block(self, response: Mapping[str, Any], candidate: Mapping[str, Any]) -> None:
        """Blocked before the model began, or in the middle: an error that says why."""
        feedback = mapping(_either(response, "promptFeedback"))
        block = word(_either(feedback, "blockReason"))
        reason = word(_either(candidate, "finishReason"))
        if block and not candidate:
            self._block("the request", block, feedback, "blockReasonMessage")
        elif reason in _BLOCKED:
            self._block("the answer", reason, candidate, "finishMessage")
        elif self.odd_ending and not self.has_begun:
            says = word(_either(candidate, "finishMessage"))
            reason = f"no answer was given: {self.odd_ending}" + (f", {says}" if says else "")
            self.failure = Failure(status=502, message=reason)

    def _block(self, what: str, reason: str, where: Mapping[str, Any], message: str) -> None:
        says = word(_either(where, message))
        ratings = ", ".join(_ratings(_either(where, "safetyRatings")))
        words = "; ".join(part for part in (says, ratings) if part)
        self.failure = Failure(
            status=200,
            kind="content_filter",
            message=f"{what} was blocked for {reason}" + (f" ({words})" if words else ""),
        )


def _finish(reason: str) -> str:
    return _FINISHED.get(reason) or ("content_filter" if reason in _BLOCKED else "error")


def usage(told: Mapping[str, Any]) -> Usage | None:
    """A usageMetadata. Thoughts are not among the candidates' tokens; both are paid for."""
    prompt = (_count(told, "promptTokenCount") or 0) + (
        _count(told, "toolUsePromptTokenCount") or 0
    )
    thoughts = _count(told, "thoughtsTokenCount")
    completion = (_count(told, "candidatesTokenCount") or 0) + (thoughts or 0)
    total = _count(told, "totalTokenCount")
    if not (prompt or completion or total):
        return None
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total or prompt + completion,
        reasoning_tokens=thoughts,
        cached_tokens=_count(told, "cachedContentTokenCount"),
        by_modality=_by_modality(told),
    )


def _by_modality(told: Mapping[str, Any]) -> dict[str, int]:
    """Prompt tokens per modality. One without a count has what the others leave of the whole; with
    several of those nothing is known of any."""
    counts: dict[str, int] = {}
    uncounted: list[str] = []
    for entry in map(mapping, items(_either(told, "promptTokensDetails"))):
        modality = word(entry.get("modality"))
        if modality is None:
            continue
        tokens = _count(entry, "tokenCount")
        if tokens is None:
            uncounted.append(modality.lower())
        else:
            counts[modality.lower()] = counts.get(modality.lower(), 0) + tokens
    if len(uncounted) > 1:
        return {}
    for modality in uncounted:
        whole = _count(told, "promptTokenCount") or 0
        counts[modality] = counts.get(modality, 0) + max(whole - sum(counts.values()), 0)
    return counts


def _ratings(ratings: Any) -> Iterator[str]:
    """The categories that were the reason, where that is told."""
    for rating in map(mapping, items(ratings)):
        category = word(rating.get("category"))
        probability = word(rating.get("probability"))
        if category and (rating.get("blocked") is True or probability == "HIGH"):
            yield category + (f" {probability}" if probability else "")


def _texts(parts: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    return (part["text"] for part in parts if isinstance(part.get("text"), str))


def _count(told: Mapping[str, Any], name: str) -> int | None:
    return count(_either(told, name))


def _either(told: Mapping[str, Any], name: str) -> Any:
    """A field, in camel case or in snake case: both are sent."""
    if name in told:
        return told[name]
    return told.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name))
