"""The chunks of a chat completion, added up. Pure: parsed JSON in, what it means out.

Knows what OpenRouter, vLLM, SGLang, llama.cpp and Ollama send on top of OpenAI's protocol, and
what they send in spite of it (providers.md 1.5, 1.6, 3 and 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from telecine.models import Chunk, Delta, Upstream, Usage
from telecine.providers import failures
from telecine.providers.failures import Failure
from telecine.providers.values import count, first, mapping, word

_MODALITIES = ("text", "image", "audio", "video")


class Answer:
    """What one answer has come to so far.

    `reads_cost`: the server's `usage.cost` is a bill in US dollars (OpenRouter's is).
    `wants_reasoning`: otherwise it is left out, since nobody asked.
    `is_ended` is for the caller to set when the server says that nothing more comes. An answer that
    comes at once may have `max_bytes`, and its figures are read as `parse_float` says.
    """

    max_bytes = 8 * 1024 * 1024
    parse_float: Callable[[str], Any] = Decimal

    def __init__(self, *, reads_cost: bool, wants_reasoning: bool) -> None:
        self.upstream = Upstream()
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.has_text = False
        self.has_reasoning = False
        self.is_ended = False
        self._reads_cost = reads_cost
        self._wants_reasoning = wants_reasoning

    @property
    def is_complete(self) -> bool:
        """The model said that it was done, or the server did after some text."""
        return self.upstream.finish_reason is not None or (self.is_ended and self.has_text)

    @property
    def has_begun(self) -> bool:
        return self.has_text or self.has_reasoning

    @property
    def is_paid_for(self) -> bool:
        """The server told that it used something, though nothing of it came."""
        used = self.usage
        return used is not None and bool(used.completion_tokens or used.cost)

    @property
    def is_blocked(self) -> bool:
        """A content filter left nothing of it."""
        return self.upstream.finish_reason == "content_filter" and not self.has_text

    def take(self, chunk: Any) -> Delta | Chunk | None:
        """What is new in `chunk`, if anything. Then `failure` is set if it carried an error."""
        if not isinstance(chunk, Mapping):
            self.failure = Failure(status=502, message="an answer that is not a JSON object")
            return None
        choice = first(chunk.get("choices"))
        self._use(chunk.get("usage"))
        delta = self._delta(choice)
        self._note(chunk, choice)
        self._note_error(chunk, choice)
        return delta

    def _use(self, told: Any) -> None:
        """The last figures count, but figures left blank do not take back what was told."""
        if not isinstance(told, Mapping) or not told:
            return
        found, known = usage(told, reads_cost=self._reads_cost), self.usage
        if known is not None and found.cost is None and known.cost is not None:
            found = replace(found, cost=known.cost, cost_source=known.cost_source)
        if known is None or found.total_tokens or not known.total_tokens:
            self.usage = found

    def _delta(self, choice: Mapping[str, Any]) -> Delta | None:
        # A server that does not stream sends the whole as `message`.
        said = choice.get("delta") or choice.get("message")
        if not isinstance(said, Mapping):
            return None
        text = _plain(said.get("content")) or _plain(said.get("refusal"))
        reasoning = _reasoning(said)
        self.has_text = self.has_text or bool(text)
        # Some of it is encrypted, and paid for all the same.
        thought = bool(reasoning or said.get("reasoning_details"))
        self.has_reasoning = self.has_reasoning or thought
        if not self._wants_reasoning:
            reasoning = ""
        return Delta(text, reasoning) if text or reasoning else None

    def _note(self, chunk: Mapping[str, Any], choice: Mapping[str, Any]) -> None:
        now = self.upstream
        news = Upstream(
            id=now.id or word(chunk.get("id")),
            model=word(chunk.get("model")) or now.model,
            provider=word(chunk.get("provider")) or now.provider,
            finish_reason=word(choice.get("finish_reason")) or now.finish_reason,
        )
        if news != now:
            self.upstream = news

    def _note_error(self, chunk: Mapping[str, Any], choice: Mapping[str, Any]) -> None:
        error = chunk.get("error") or choice.get("error")
        if chunk.get("object") == "error":
            self.failure = failures.read(chunk)
        elif error:
            self.failure = failures.read({"error": error})
        elif choice.get("finish_reason") == "error":
            self.failure = Failure(status=502, message="the model's host broke off")


def usage(told: Mapping[str, Any], *, reads_cost: bool = False) -> Usage:
    """A usage object of any of the servers. Figures that make no sense count as not told."""
    prompt = count(told.get("prompt_tokens")) or 0
    completion = count(told.get("completion_tokens")) or 0
    inside = mapping(told.get("prompt_tokens_details"))
    found = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=count(told.get("total_tokens")) or prompt + completion,
        reasoning_tokens=count(
            mapping(told.get("completion_tokens_details")).get("reasoning_tokens")
        ),
        cached_tokens=count(inside.get("cached_tokens")),
        by_modality=_by_modality(inside),
    )
    cost = _cost(told) if reads_cost else None
    return found if cost is None else replace(found, cost=cost, cost_source="billed")


def _by_modality(inside: Mapping[str, Any]) -> dict[str, int]:
    """Prompt tokens per modality. Nothing but zeros is a form left blank, not a finding."""
    vllm = mapping(inside.get("multimodal_tokens"))
    counts = {
        modality: told
        for modality in _MODALITIES
        if (told := count(inside.get(f"{modality}_tokens", vllm.get(modality)))) is not None
    }
    return counts if any(counts.values()) else {}


def _cost(told: Mapping[str, Any]) -> Decimal | None:
    cost = _dollars(told.get("cost"))
    if told.get("is_byok") is not True:
        return cost
    # The operator's own key at the host: `cost` is OpenRouter's fee alone.
    upstream = _dollars(mapping(told.get("cost_details")).get("upstream_inference_cost"))
    return None if cost is None or upstream is None else cost + upstream


def _dollars(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    amount = Decimal(str(value))
    return amount if amount.is_finite() and 0 <= amount < 10**9 else None


def _reasoning(said: Mapping[str, Any]) -> str:
    for name in ("reasoning", "reasoning_content"):
        if text := _plain(said.get(name)):
            return text
    details = said.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    return "".join(
        _plain(detail.get("text")) or _plain(detail.get("summary"))
        for detail in details
        if isinstance(detail, Mapping)
    )


def _plain(content: Any) -> str:
    """Text, or the texts of a list of content parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(_plain(part.get("text")) for part in content if isinstance(part, Mapping))
