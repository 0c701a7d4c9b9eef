"""How an answer is made, the switches, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from typing import Any

from telecine.fake import chat
from telecine.fake.anthropic.rules import MODELS, SOME, refusal
from telecine.fake.chat import words
from telecine.fake.dialects import media_tokens
from telecine.fake.record import Received
from telecine.fake.script import Answer, Script, split, wired


class _Turn:
    """One question with what an answer to it is made of: events, each with its name."""

    def __init__(self, received: Received) -> None:
        self.received = received
        usage = received.usage
        first = {**usage, "output_tokens": 1}
        self.start = _event("message_start", message=self.message([], None, first))
        self.text = [*_block(0, "text", words(received.said))]
        self.thoughts = [*_block(0, "thinking", ["Let me ", "look."])]
        self.stop = self.ended("end_turn", usage)

    def message(
        self, content: list[Any], reason: str | None, usage: Mapping[str, Any]
    ) -> dict[str, Any]:
        received = self.received
        return {
            "id": received.id,
            "type": "message",
            "role": "assistant",
            "model": received.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def ended(self, reason: str, usage: Mapping[str, Any]) -> list[str]:
        delta = {"stop_reason": reason, "stop_sequence": None}
        return [_event("message_delta", delta=delta, usage=usage), _event("message_stop")]

    def script(self, *events: list[str]) -> Script:
        return Script(chunks=[self.start, _event("ping"), *chain(*events)], end="silent")


def answer(received: Received) -> Script:
    try:
        name, wire = split(received.switch)
        script = _named(_Turn(received), name)
    except LookupError as problem:
        return refusal(400, str(problem))
    is_streamed = received.document.get("stream") is True
    if script.body is None and not is_streamed and not name:
        said = [{"type": "text", "text": received.said}]
        whole = _Turn(received).message(said, "end_turn", received.usage)
        script = Script(body=whole)
    return wired(script, wire)


def _named(turn: _Turn, name: str) -> Script:
    """Raises LookupError where there is no such switch."""
    if not name:
        return turn.script(turn.text, turn.stop)
    if name.isdecimal() and 400 <= int(name) < 600:
        retry = {"Retry-After": "7"} if name in ("429", "503", "529") else {}
        return replace(refusal(int(name), f"said {name}"), headers=retry)
    if name in SWITCHES:
        return SWITCHES[name].make(turn)
    raise LookupError(f"there is no switch {name!r} here")


def _silent_drop(turn: _Turn) -> Script:
    blind = {**turn.received.usage, "input_tokens": chat.text_tokens(turn.received)}
    start = _event("message_start", message=turn.message([], None, blind))
    lie = [*_block(0, "text", ["A cat plays the piano."])]
    return Script(chunks=[start, *lie, *turn.ended("end_turn", blind)], end="silent")


def _thoughts(turn: _Turn) -> Script:
    text = [*_block(1, "text", words(turn.received.said))]
    details = {"output_tokens_details": {"thinking_tokens": 2}}
    stop = turn.ended("end_turn", {**turn.received.usage, **details})
    return turn.script(turn.thoughts, text, stop)


def _redacted(turn: _Turn) -> Script:
    hidden = {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}
    block = [
        _event("content_block_start", index=0, content_block=hidden),
        _event("content_block_stop", index=0),
    ]
    return turn.script(block, [*_block(1, "text", words(turn.received.said))], turn.stop)


def _cached(turn: _Turn) -> Script:
    usage = turn.received.usage
    half = usage["input_tokens"] // 2
    told = {**usage, "input_tokens": usage["input_tokens"] - half, "cache_read_input_tokens": half}
    return turn.script(turn.text, turn.ended("end_turn", told))


def _filtered(turn: _Turn) -> Script:
    return turn.script(turn.ended("refusal", {**turn.received.usage, "output_tokens": 1}))


def _error_event(turn: _Turn) -> Script:
    return turn.script(turn.text[:2], [_failure("api_error", "Internal server error")])


def _quotes_key(turn: _Turn) -> Script:
    return refusal(400, f"Bad request with key {turn.received.headers.get('x-api-key')}")


def _slow(turn: _Turn) -> Script:
    many = _block(0, "text", [f"{n} " for n in range(2000)])
    return replace(turn.script([*many], turn.stop), seconds_per_chunk=0.01)


SWITCHES: Mapping[str, Answer[_Turn]] = {
    "thoughts": Answer("Reasoning, signed, then the answer", _thoughts),
    "thoughts-redacted": Answer("Reasoning that is not shown, then the answer", _redacted),
    "thoughts-only": Answer(
        "Reasoning, no text, `stop_reason: max_tokens`",
        lambda turn: turn.script(turn.thoughts, turn.ended("max_tokens", turn.received.usage)),
    ),
    "cached": Answer("Half of the prompt was read from the cache", _cached),
    "silent-drop": Answer(
        "The images are dropped: text tokens alone, and an invented answer", _silent_drop
    ),
    "filtered": Answer("`stop_reason: refusal` and no text", _filtered),
    "filtered-late": Answer(
        "The text, then `stop_reason: refusal`",
        lambda turn: turn.script(turn.text, turn.ended("refusal", turn.received.usage)),
    ),
    "first-529": Answer(
        "Status 200, and an error event before anything else",
        lambda _: Script(chunks=[_failure("overloaded_error", "Overloaded")], end="silent"),
    ),
    "word-code": Answer("An error event after the first word", _error_event),
    "too-long": Answer(
        "400, the context is full",
        lambda _: refusal(400, "prompt is too long: 208310 tokens > 200000 maximum"),
    ),
    "quotes-key": Answer("400 with the key in the message", _quotes_key),
    "new-event": Answer(
        "An event that nobody has heard of, then the answer",
        lambda turn: turn.script([_event("weather", sky="blue")], turn.text, turn.stop),
    ),
    "cut": Answer(
        "The connection breaks in the middle of the answer",
        lambda turn: replace(turn.script(turn.text), end="cut"),
    ),
    "ends-early": Answer(
        "The stream ends in the middle of the answer, as if it were over",
        lambda turn: turn.script(turn.text),
    ),
    "mute": Answer(
        "One word, and then nothing for as long as the client stays",
        lambda turn: replace(turn.script(turn.text[:2]), end="mute"),
    ),
    "slow": Answer("2000 words, a hundred a second", _slow),
}


def _event(name: str, **more: Any) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name, **more})}"


def _failure(kind: str, message: str) -> str:
    return _event("error", error={"type": kind, "message": message})


def _block(index: int, kind: str, pieces: list[str]) -> Iterator[str]:
    """A block of content from its start to its end."""
    signed = {"signature": ""} if kind == "thinking" else {}
    empty = {"type": kind, kind: "", **signed}
    yield _event("content_block_start", index=index, content_block=empty)
    for piece in pieces:
        delta = {"type": f"{kind}_delta", kind: piece}
        yield _event("content_block_delta", index=index, delta=delta)
    if signed:
        proof = {"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA"}
        yield _event("content_block_delta", index=index, delta=proof)
    yield _event("content_block_stop", index=index)


# ---------------------------------------------------------------- figures


def usage(received: Received) -> dict[str, Any]:
    prompt = chat.text_tokens(received) + sum(media_tokens(received).values())
    return {
        "input_tokens": prompt,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": len(words(received.said)),
    }


def bill(received: Received, script: Script) -> Decimal:
    """By what was told last; nothing for what was refused or broke before it began."""
    told = _told(script)
    if told is None:
        return Decimal(0)
    received.usage = {**received.usage, **told}
    model, usage = MODELS.get(received.model, SOME), received.usage
    written = usage["input_tokens"] + usage["cache_creation_input_tokens"]
    dollars = (
        written * model.prompt
        + usage["cache_read_input_tokens"] * model.cached
        + usage["output_tokens"] * model.completion
    )
    return Decimal(dollars) / 10**6


def _told(script: Script) -> Mapping[str, Any] | None:
    if script.body is not None:
        whole: Mapping[str, Any] | None = script.body.get("usage")
        return whole
    found = None
    for chunk in script.chunks:
        event = json.loads(chunk.partition("data: ")[2] or "{}")
        found = event.get("usage") or event.get("message", {}).get("usage") or found
    return found
