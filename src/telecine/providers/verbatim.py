"""Answers that are passed on as they come, to callers who speak OpenAI's words themselves. Pure.

What is of use here is read along the way: who answered, what it used, and whether it went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from telecine.models import Api, Chunk, Upstream
from telecine.providers import failures
from telecine.providers.answer import Answer
from telecine.providers.failures import Failure
from telecine.providers.values import first, mapping, word

_FINISHED = {"completed": "stop", "incomplete": "length"}


class Completion(Answer):
    """A chat completion: its chunks, or all of it."""

    @property
    def is_blocked(self) -> bool:
        return False  # the finish reason goes to the caller as it is

    def take(self, chunk: Any) -> Chunk | None:
        super().take(chunk)
        if self.failure is not None:
            return None
        choice = first(chunk.get("choices"))
        said = mapping(choice.get("delta") or choice.get("message"))
        if said.get("tool_calls") or said.get("function_call") or said.get("audio"):
            self.has_text = True
        return Chunk(chunk)


class Response(Answer):
    """A response of the Responses API: its events, or all of it."""

    @property
    def is_blocked(self) -> bool:
        return False

    def take(self, chunk: Any) -> Chunk | None:
        event = mapping(chunk)
        kind = word(event.get("type")) or ""
        response = mapping(event.get("response") or event)
        if response.get("object") == "response":
            self._note_response(response)
        error = response.get("error")
        if not event:
            self.failure = Failure(status=502, message="an answer that is not a JSON object")
        elif kind == "error" or error:
            self.failure = failures.read({"error": error} if error else event)
        elif response.get("status") == "failed":
            self.failure = Failure(status=502, message="the model's host broke off")
        if self.failure is not None:
            return None
        if kind.startswith("response.reasoning"):
            self.has_reasoning = True
        elif kind.endswith(".delta") or response.get("output"):
            self.has_text = True
        return Chunk(event)

    def _note_response(self, response: Mapping[str, Any]) -> None:
        now = self.upstream
        self.upstream = Upstream(
            id=now.id or word(response.get("id")),
            model=word(response.get("model")) or now.model,
            provider=word(response.get("provider")) or now.provider,
            finish_reason=_FINISHED.get(str(response.get("status"))) or now.finish_reason,
        )
        if isinstance(told := response.get("usage"), Mapping):
            self._use(_as_chat(told))


class Embeddings(Answer):
    """All of them at once; so many numbers that only the money among them is read as decimals."""

    max_bytes = 64 * 1024 * 1024
    parse_float = float

    def take(self, chunk: Any) -> Chunk | None:
        super().take(chunk)
        if self.failure is not None:
            return None
        self.has_text = bool(chunk.get("data"))
        self.upstream = replace(self.upstream, finish_reason="stop")
        return Chunk(chunk)


def answer(api: Api, *, reads_cost: bool) -> Answer:
    """For the answer of that part of the API, all of which goes to the caller."""
    kinds: Mapping[Api, type[Answer]] = {
        "chat": Completion,
        "responses": Response,
        "embeddings": Embeddings,
    }
    return kinds[api](reads_cost=reads_cost, wants_reasoning=True)


def _as_chat(told: Mapping[str, Any]) -> dict[str, Any]:
    """A response's usage under the names that a chat completion has for it."""
    details = mapping(told.get("cost_details"))
    return {
        **told,
        "prompt_tokens": told.get("input_tokens"),
        "completion_tokens": told.get("output_tokens"),
        "prompt_tokens_details": told.get("input_tokens_details"),
        "completion_tokens_details": told.get("output_tokens_details"),
        "cost_details": details,
    }
