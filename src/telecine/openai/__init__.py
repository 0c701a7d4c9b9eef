"""OpenAI's JSON, which callers under /openrouter/router/openai/v1 speak: what stands in its bodies,
and how an answer is put into its words. Pure: JSON in, JSON out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from telecine.models import Api, Conversation, Delta, Usage
from telecine.openai import chat, responses

Json = dict[str, Any]


class Assembler(Protocol):
    """Puts an answer together from the bodies of its Chunks, in the order they came."""

    def add(self, body: Mapping[str, Any]) -> None: ...

    def whole(self) -> Json:
        """The answer as one object, as OpenAI gives it without a stream."""
        ...


class Writer(Protocol):
    """Puts an answer that comes as plain text into OpenAI's words: the bodies of its Chunks.

    What opens an answer comes with its first words.
    """

    def delta(self, delta: Delta) -> list[Json]: ...

    def end(self, usage: Usage, finish_reason: str | None) -> list[Json]: ...


class _Whole:
    """For answers that never come in pieces."""

    def __init__(self) -> None:
        self._body: Json = {}

    def add(self, body: Mapping[str, Any]) -> None:
        self._body = dict(body)

    def whole(self) -> Json:
        return self._body


def assembler(api: Api) -> Assembler:
    match api:
        case "chat":
            return chat.Completion()
        case "responses":
            return responses.Response()
        case "embeddings":
            return _Whole()


def writer(talk: Conversation, *, request_id: str, model: str, created: int) -> Writer | None:
    """None: there is no way to say it (embeddings are not text)."""
    match talk.api:
        case "chat":
            return chat.Writer(request_id=request_id, model=model, created=created)
        case "responses":
            return responses.Writer(talk, request_id=request_id, model=model, created=created)
        case "embeddings":
            return None


def is_mere_usage(body: Mapping[str, Any]) -> bool:
    """The last chunk of a chat's stream: without a choice, and only for those who asked for it."""
    return body.get("choices") == [] and body.get("usage") is not None


def wants_usage(talk: Mapping[str, Any]) -> bool:
    """Whether the body of a streamed chat asks for that chunk."""
    options = talk.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True
