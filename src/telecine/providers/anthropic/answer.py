"""The events of one message, added up. Pure: parsed JSON in, what it means out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from telecine.models import Delta, Upstream, Usage
from telecine.providers import failures
from telecine.providers.failures import Failure
from telecine.providers.values import count, items, mapping, text, word

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Answer:
    """What one answer has come to so far: see exchange.Reading. Reasoning that nobody wants is left
    out."""

    max_bytes = 8 * 1024 * 1024
    parse_float: Callable[[str], Any] = Decimal

    def __init__(self, *, wants_reasoning: bool) -> None:
        self.upstream = Upstream()
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.has_text = False
        self.has_reasoning = False
        self.is_ended = False
        self._wants_reasoning = wants_reasoning
        self._told: dict[str, Any] = {}

    @property
    def is_complete(self) -> bool:
        """The model said why it stopped."""
        return self.upstream.finish_reason is not None

    @property
    def has_begun(self) -> bool:
        return self.has_text or self.has_reasoning

    @property
    def is_paid_for(self) -> bool:
        return self.usage is not None and self.usage.total_tokens > 0

    @property
    def is_blocked(self) -> bool:
        return self.upstream.finish_reason == "content_filter" and not self.has_text

    def take(self, chunk: Any) -> Delta | None:
        """One event of the stream; or a whole message, from those who do not stream."""
        event = mapping(chunk)
        match event.get("type"):
            case "message_start":
                self._begin(mapping(event.get("message")))
            case "content_block_start":
                return self._block(mapping(event.get("content_block")))
            case "content_block_delta":
                return self._block(mapping(event.get("delta")))
            case "message_delta":
                self._end(mapping(event.get("delta")))
                self._use(event.get("usage"))
            case "message_stop":
                self.is_ended = True
            case "message":
                return self._whole(event)
            case "error":
                self.failure = failures.read(event)
            case None:
                self.failure = Failure(status=502, message="an answer that is no message")
        # A ping is nothing, and so is an event that is newer than this.
        return None

    def _begin(self, message: Mapping[str, Any]) -> None:
        now = self.upstream
        found = Upstream(
            id=now.id or word(message.get("id")),
            model=word(message.get("model")) or now.model,
            provider=now.provider,
            finish_reason=now.finish_reason,
        )
        self.upstream = found
        self._use(message.get("usage"))

    def _block(self, block: Mapping[str, Any]) -> Delta | None:
        """The start of a block of content, or more of it. Signatures prove reasoning, and say
        nothing; reasoning may be redacted, and is paid for all the same."""
        said, thought = text(block.get("text")), text(block.get("thinking"))
        is_thinking = block.get("type") in (
            "thinking_delta",
            "signature_delta",
            "redacted_thinking",
        )
        self.has_text = self.has_text or bool(said)
        self.has_reasoning = self.has_reasoning or is_thinking or bool(thought)
        if not self._wants_reasoning:
            thought = ""
        return Delta(said, thought) if said or thought else None

    def _end(self, delta: Mapping[str, Any]) -> None:
        if reason := word(delta.get("stop_reason")):
            self.upstream = replace(self.upstream, finish_reason=_FINISH.get(reason, reason))

    def _whole(self, message: Mapping[str, Any]) -> Delta | None:
        self._begin(message)
        deltas = [self._block(mapping(block)) for block in items(message.get("content"))]
        self._end(message)
        found = [delta for delta in deltas if delta is not None]
        whole = Delta("".join(d.text for d in found), "".join(d.reasoning for d in found))
        return whole if found else None

    def _use(self, told: Any) -> None:
        """Later figures are totals, and replace earlier ones; what they leave out stands."""
        self._told |= {name: each for name, each in mapping(told).items() if each is not None}
        if self._told:
            self.usage = usage(self._told)


def usage(told: Mapping[str, Any]) -> Usage:
    """A usage object. What was read from the cache or written to it is not in `input_tokens`."""
    cached = count(told.get("cache_read_input_tokens"))
    written = count(told.get("cache_creation_input_tokens")) or 0
    prompt = (count(told.get("input_tokens")) or 0) + (cached or 0) + written
    completion = count(told.get("output_tokens")) or 0
    details = mapping(told.get("output_tokens_details"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        reasoning_tokens=count(details.get("thinking_tokens")),
        cached_tokens=cached,
    )
