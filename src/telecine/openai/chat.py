"""Chat completions: their chunks added up, and plain text as chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telecine.models import Delta, Usage

# Strings that come in pieces. All others (ids, names, roles) come whole, and may come again.
_GROWING = frozenset(
    {"content", "reasoning", "reasoning_content", "refusal", "arguments", "input", "text"}
    | {"summary", "data", "transcript"}
)


class _Text(list[str]):
    """A string under way, in its pieces."""


class Completion:
    """What the chunks of one answer come to: the object that OpenAI gives without a stream."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, body: Mapping[str, Any]) -> None:
        for name, value in body.items():
            if name != "choices" and (value is not None or name not in self._head):
                self._head[name] = value
        choices = body.get("choices")
        for place, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, Mapping):
                index = choice.get("index")
                self._add(choice, index if isinstance(index, int) else place)

    def whole(self) -> dict[str, Any]:
        choices = [_joined(self._choices[index]) for index in sorted(self._choices)]
        return {**self._head, "object": "chat.completion", "choices": choices}

    def _add(self, choice: Mapping[str, Any], index: int) -> None:
        known = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant", "content": None}}
        )
        for name, value in choice.items():
            match name, value:
                case "delta", Mapping():
                    _merge(known["message"], value)
                case "message", Mapping():
                    known["message"] = dict(value)  # of a server that does not stream
                case "logprobs", Mapping():
                    _merge(known.setdefault("logprobs", {}), value)
                case "index" | "delta", _:
                    pass
                case _ if value is not None or name not in known:
                    known[name] = value


class Writer:
    """The chunks of an answer that comes as text."""

    def __init__(self, *, request_id: str, model: str, created: int) -> None:
        self._head = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._opening: dict[str, Any] = {"role": "assistant", "content": ""}

    def delta(self, delta: Delta) -> list[dict[str, Any]]:
        said = {"reasoning": delta.reasoning, "content": delta.text}
        return [*self._open(), self._chunk({name: text for name, text in said.items() if text})]

    def end(self, usage: Usage, finish_reason: str | None) -> list[dict[str, Any]]:
        last = self._chunk({}, finish_reason or "stop")
        return [*self._open(), last, {**self._head, "choices": [], "usage": told(usage)}]

    def _open(self) -> list[dict[str, Any]]:
        opening, self._opening = self._opening, {}
        return [self._chunk(opening)] if opening else []

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head, "choices": [choice]}


def told(usage: Usage) -> dict[str, Any]:
    """`usage` as a chat completion tells it; the cost (dollars, or null) is OpenRouter's idea."""
    inside = {f"{name}_tokens": count for name, count in usage.by_modality.items()}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost": None if usage.cost is None else float(usage.cost),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0, **inside},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


def _merge(into: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        known = into.get(name)
        match value:
            case None:
                into.setdefault(name, None)
            case str() if name in _GROWING:
                pieces = known if isinstance(known, _Text) else _Text()
                pieces.append(value)
                into[name] = pieces
            case list():
                into[name] = _extended(known if isinstance(known, list) else [], value)
            case Mapping():
                into[name] = known if isinstance(known, dict) else {}
                _merge(into[name], value)
            case _:
                into[name] = value


def _extended(known: list[Any], more: list[Any]) -> list[Any]:
    """Entries with an `index` are pieces of the entry with that index; all others are new."""
    by_index = {entry["index"]: entry for entry in known if _is_indexed(entry)}
    for entry in more:
        if not isinstance(entry, Mapping):
            known.append(entry)
            continue
        made = by_index.get(entry["index"]) if _is_indexed(entry) else None
        if made is None:
            made = {}
            known.append(made)
            if _is_indexed(entry):
                by_index[entry["index"]] = made
        _merge(made, entry)
    return known


def _is_indexed(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("index"), int)


def _joined(value: Any, name: str = "") -> Any:
    """`value` with its strings whole. What a tool is called with has no index any more."""
    match value:
        case _Text():
            return "".join(value)
        case Mapping():
            return {
                key: _joined(item, key)
                for key, item in value.items()
                if not (name == "tool_calls" and key == "index")
            }
        case list():
            return [_joined(item, name) for item in value]
    return value
