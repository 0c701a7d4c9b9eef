"""The Responses API: the end of its event stream, and plain text as its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from telecine.models import Conversation, Delta, Usage

ItemType = Literal["message", "reasoning"]

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})

# What a response repeats of its request, and what stands there when it said nothing.
_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


class Response:
    """The response that the last event of a stream has in it."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}

    def add(self, body: Mapping[str, Any]) -> None:
        inside = body.get("response")
        if body.get("object") == "response":
            self._response = dict(body)
        elif body.get("type") in _LAST and isinstance(inside, Mapping):
            self._response = dict(inside)

    def whole(self) -> dict[str, Any]:
        return self._response


@dataclass(slots=True)
class _Item:
    """One piece of output: reasoning, or the message."""

    id: str
    type: ItemType
    index: int
    pieces: list[str] = field(default_factory=list)

    @property
    def part_type(self) -> str:
        return "output_text" if self.type == "message" else "reasoning_text"

    def part(self) -> dict[str, Any]:
        made: dict[str, Any] = {"type": self.part_type, "text": "".join(self.pieces)}
        return made | ({"annotations": [], "logprobs": []} if self.type == "message" else {})

    def shown(self, status: str) -> dict[str, Any]:
        content = [] if status == "in_progress" else [self.part()]
        made: dict[str, Any] = {
            "id": self.id,
            "type": self.type,
            "status": status,
            "content": content,
        }
        more: dict[str, Any] = {"role": "assistant"} if self.type == "message" else {"summary": []}
        return made | more

    def about(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}


class Writer:
    """The events of an answer that comes as text."""

    def __init__(self, talk: Conversation, *, request_id: str, model: str, created: int) -> None:
        self._request_id = request_id
        self._head = {
            "id": f"resp_{request_id}",
            "object": "response",
            "created_at": created,
            "model": model,
            **{name: talk.body.get(name) or value for name, value in _REPEATED.items()},
        }
        self._items: list[_Item] = []
        self._count = 0

    def delta(self, delta: Delta) -> list[dict[str, Any]]:
        events = self._begin()
        if delta.reasoning:
            events += self._grow("reasoning", delta.reasoning)
        if delta.text:
            events += self._grow("message", delta.text)
        return events

    def end(self, usage: Usage, finish_reason: str | None) -> list[dict[str, Any]]:
        events = [*self._begin(), *self._close()]
        is_cut = finish_reason in ("length", "content_filter")
        status = "incomplete" if is_cut else "completed"
        reason = "max_output_tokens" if finish_reason == "length" else finish_reason
        whole = self._response(status) | {"usage": told(usage)}
        if is_cut:
            whole["incomplete_details"] = {"reason": reason}
        return [*events, self._event(f"response.{status}", response=whole)]

    def _begin(self) -> list[dict[str, Any]]:
        if self._count:
            return []
        now = self._response("in_progress")
        return [
            self._event("response.created", response=now),
            self._event("response.in_progress", response=now),
        ]

    def _grow(self, type_: ItemType, text: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if not self._items or self._items[-1].type != type_:
            events += self._close()
            events += self._open(type_)
        item = self._items[-1]
        item.pieces.append(text)
        more: dict[str, Any] = {"logprobs": []} if type_ == "message" else {}
        name = f"response.{item.part_type}.delta"
        return [*events, self._event(name, **item.about(), delta=text, **more)]

    def _open(self, type_: ItemType) -> list[dict[str, Any]]:
        prefix = "msg" if type_ == "message" else "rs"
        index = len(self._items)
        item = _Item(f"{prefix}_{self._request_id}_{index}", type_, index)
        self._items.append(item)
        return [
            self._event(
                "response.output_item.added", output_index=index, item=item.shown("in_progress")
            ),
            self._event("response.content_part.added", **item.about(), part=item.part()),
        ]

    def _close(self) -> list[dict[str, Any]]:
        """The ends of the item that is open, if there is one."""
        if not self._items:
            return []
        item = self._items[-1]
        part = item.part()
        more: dict[str, Any] = {"logprobs": []} if item.type == "message" else {}
        name = f"response.{item.part_type}.done"
        return [
            self._event(name, **item.about(), text=part["text"], **more),
            self._event("response.content_part.done", **item.about(), part=part),
            self._event(
                "response.output_item.done", output_index=item.index, item=item.shown("completed")
            ),
        ]

    def _response(self, status: str) -> dict[str, Any]:
        is_over = status != "in_progress"
        return {
            **self._head,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": [item.shown("completed") for item in self._items] if is_over else [],
            "usage": None,
        }

    def _event(self, type_: str, **more: Any) -> dict[str, Any]:
        number = self._count
        self._count += 1
        return {"type": type_, "sequence_number": number, **more}


def told(usage: Usage) -> dict[str, Any]:
    """`usage` as a response tells it. The cost is OpenRouter's addition: dollars, or null."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
        "cost": None if usage.cost is None else float(usage.cost),
    }
