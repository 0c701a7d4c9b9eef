"""Chat completions: the answer in chunks, and the switches of everybody who speaks them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from telecine.fake.record import Received
from telecine.fake.script import Answer, Script, number

TEXT_OF_A_CALL = ('{"city":', ' "Köln"}')


class Turn:
    """One question with what an answer to it is made of.

    `plain`: the text (or the call of the first tool that is offered) in chunks; `stop`: the chunk
    that ends it; `total`: the chunk with the `usage` and nothing else; `whole`: all of these.
    """

    def __init__(
        self,
        received: Received,
        usage: Mapping[str, Any],
        host: str,
        cost: Callable[[Mapping[str, Any]], Decimal],
    ) -> None:
        self.received = received
        self.usage = usage
        self.host = host
        self._cost = cost
        self.plain = [self.chunk(word) for word in words(received.said)]
        self.stop = self.chunk("", finish="stop")
        if tools := received.document.get("tools"):
            self.plain = self._calling(tools[0]["function"]["name"])
            self.stop = self.chunk("", finish="tool_calls")
        others = range(1, received.document.get("n") or 1)
        self.plain += [self.chunk(f"answer {n}", index=n) for n in others]
        self.plain += [self.chunk("", finish="stop", index=n) for n in others]
        self.total = {**self.head, "choices": [], "usage": usage}
        self.whole = [*self.plain, self.stop, self.total]

    @property
    def head(self) -> dict[str, Any]:
        received = self.received
        head = {"id": received.id, "object": "chat.completion.chunk", "model": received.model}
        return {**head, "provider": self.host} if self.host else head

    def chunk(
        self,
        text: str,
        *,
        reasoning: str | None = None,
        finish: str | None = None,
        index: int = 0,
        **delta: Any,
    ) -> dict[str, Any]:
        said = {"role": "assistant", "content": text, "reasoning": reasoning, **delta}
        return {**self.head, "choices": [{"index": index, "delta": said, "finish_reason": finish}]}

    def used(self, prompt: int, completion: int) -> dict[str, Any]:
        """The usage with other figures, and nothing said of what they are made of."""
        told: dict[str, Any] = {
            **self.usage,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {},
        }
        return {**told, "cost": number(self._cost(told))} if "cost" in told else told

    def ended_by(self, total: Mapping[str, Any]) -> Script:
        """The plain answer, with another usage told."""
        return Script(chunks=[*self.plain, self.stop, {**self.total, "usage": total}])

    def _calling(self, name: str) -> list[dict[str, Any]]:
        """A call of the tool, in pieces as they come."""
        pieces: list[dict[str, Any]] = [
            {"id": "call_1", "type": "function", "function": {"name": name}},
            *({"function": {"arguments": piece}} for piece in TEXT_OF_A_CALL),
        ]
        chunks = [self.chunk("") for _ in pieces]
        for chunk, piece in zip(chunks, pieces, strict=True):
            chunk["choices"][0]["delta"] = {"tool_calls": [{"index": 0, **piece}]}
        return chunks


def completion(turn: Turn, chunks: list[Any]) -> dict[str, Any]:
    """The same at once, for those who want no stream."""
    choices: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {**turn.head, "object": "chat.completion", "created": 1_700_000_000}
    for chunk in chunks:
        if not isinstance(chunk, dict):
            continue
        if "error" in chunk:
            return {"error": chunk["error"]}
        for choice in chunk["choices"]:
            _add(choices.setdefault(choice["index"], _choice(choice["index"])), choice)
        if "usage" in chunk:
            whole["usage"] = chunk["usage"]
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}


def _choice(index: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"index": index, "logprobs": None, "message": message, "finish_reason": None}


def _add(choice: dict[str, Any], piece: Mapping[str, Any]) -> None:
    message, delta = choice["message"], piece["delta"]
    for name in ("content", "reasoning", "reasoning_content"):
        if text := delta.get(name):
            message[name] = (message.get(name) or "") + text
    if details := delta.get("reasoning_details"):
        message["reasoning_details"] = message.get("reasoning_details", []) + details
    for call in delta.get("tool_calls", ()):
        if "id" in call:
            function = {**call["function"], "arguments": ""}
            message["tool_calls"] = [{"id": call["id"], "type": "function", "function": function}]
        else:
            message["tool_calls"][0]["function"]["arguments"] += call["function"]["arguments"]
    if finish := piece["finish_reason"]:
        choice |= {"finish_reason": finish, "native_finish_reason": finish.upper()}


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def error(code: Any, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


# ---------------------------------------------------------------- switches


def _comes_twice(turn: Turn) -> Script:
    last = {**turn.stop, "usage": turn.usage}
    return Script(chunks=[*turn.plain, last, turn.total])


def _silent_drop(turn: Turn) -> Script:
    lie = "A cat plays the piano."
    blind = turn.used(text_tokens(turn.received), len(words(lie)))
    return Script(chunks=[turn.chunk(lie), turn.stop, {**turn.total, "usage": blind}])


def _zero_prompt(turn: Turn) -> Script:
    zero = {"prompt_tokens": 0, "prompt_tokens_details": {"video_tokens": 0}}
    return turn.ended_by({**turn.usage, **zero})


def _byok(turn: Turn) -> Script:
    details = {"upstream_inference_cost": 0.02}
    return turn.ended_by({**turn.usage, "cost": 0.001, "is_byok": True, "cost_details": details})


def _thoughts(turn: Turn) -> Script:
    thoughts = [turn.chunk("", reasoning=text) for text in ("Let me ", "look.")]
    return Script(chunks=[*thoughts, *turn.whole])


def _thoughts_in_details(turn: Turn) -> Script:
    detail = {"type": "reasoning.text", "text": "Hm.", "index": 0}
    return Script(chunks=[turn.chunk("", reasoning_details=[detail]), *turn.whole])


def _late_error(turn: Turn) -> Script:
    late = {**turn.chunk(""), **error(400, "It broke"), "usage": turn.usage}
    return Script(chunks=[*turn.plain, late])


def _length_then_error(turn: Turn) -> Script:
    late = {**turn.chunk(""), **error(400, "Token limit reached"), "usage": turn.usage}
    return Script(chunks=[*turn.plain, turn.chunk("", finish="length"), late])


def _middle_error(turn: Turn) -> Script:
    last = {**turn.chunk("", finish="error"), **error(502, "Provider gone")}
    return Script(chunks=[turn.plain[0], last], end="silent")


def _error_in_choice(turn: Turn) -> Script:
    choice = {"index": 0, "finish_reason": "error", **error(502, "Host fell over")}
    return Script(body={**turn.head, "choices": [choice]})


def _no_stream(turn: Turn) -> Script:
    return Script(body=completion(turn, turn.whole))


def _thoughts_only(turn: Turn) -> Script:
    thought = turn.chunk("", reasoning="Endless")
    return Script(chunks=[thought, turn.chunk("", finish="length"), turn.total])


def _moderated(_: Turn) -> Script:
    metadata = {"reasons": ["violence"], "flagged_input": "..."}
    return Script(status=403, body=error(403, "Flagged", metadata=metadata))


def _overflow(_: Turn) -> Script:
    kind = {"error_type": "context_length_exceeded"}
    return Script(status=400, body=error(400, "Too many tokens", metadata=kind))


def _no_host(_: Turn) -> Script:
    availability = {"code": "constraint_filtered", "retryable": False}
    return Script(status=503, body=error(503, "No allowed providers", availability=availability))


def _no_capacity(_: Turn) -> Script:
    availability = {"code": "capacity_exhausted", "retryable": True, "retry_after": 7}
    return Script(status=503, body=error(503, "All hosts are busy", availability=availability))


def _raw_429(_: Turn) -> Script:
    metadata = {"provider_name": "Google", "raw": "quota of the day is used up"}
    return Script(
        status=429,
        headers={"Retry-After": "7"},
        body={**error(429, "Provider returned error", metadata=metadata), "user_id": "u"},
    )


def _quotes_key(turn: Turn) -> Script:
    key = turn.received.headers.get("Authorization", "").removeprefix("Bearer ")
    return Script(status=400, body=error(400, f"Bad request with key {key}, Bearer {key}"))


def _slow(turn: Turn) -> Script:
    return Script(chunks=[turn.chunk(f"{n} ") for n in range(2000)], seconds_per_chunk=0.01)


SWITCHES: Mapping[str, Answer[Turn]] = {
    "usage-in-last-chunk": Answer(
        "Usage in the last chunk that has content",
        lambda turn: Script(chunks=[*turn.plain, {**turn.stop, "usage": turn.usage}]),
    ),
    "usage-twice": Answer("Usage in the last two chunks", _comes_twice),
    "no-usage": Answer(
        "Usage is never told",
        lambda turn: Script(chunks=[*turn.plain, turn.stop]),
    ),
    "null-cost": Answer(
        "Usage with a cost of null",
        lambda turn: turn.ended_by({**turn.usage, "cost": None}),
    ),
    "byok": Answer(
        "The operator's own key at the host: a fee, and the host's bill beside it", _byok
    ),
    "zero-prompt": Answer(
        "Usage that counts no prompt tokens, but for a normal answer", _zero_prompt
    ),
    "silent-drop": Answer(
        "The video is dropped: text tokens alone, and an invented answer", _silent_drop
    ),
    "alphabets": Answer(
        "A greeting in several alphabets, then the answer",
        lambda turn: Script(chunks=[turn.chunk("Grüße, 世界 🎬 "), *turn.whole]),
    ),
    "thoughts": Answer("Reasoning, then the answer", _thoughts),
    "thoughts-in-details": Answer("Reasoning as `reasoning_details`", _thoughts_in_details),
    "thoughts-in-content": Answer(
        "Reasoning as `reasoning_content`",
        lambda turn: Script(chunks=[turn.chunk("", reasoning_content="Hm."), *turn.whole]),
    ),
    "thoughts-only": Answer("Reasoning, no text, `finish_reason: length`", _thoughts_only),
    "length-then-error": Answer(
        "`finish_reason: length`, then an error chunk with usage that says so again",
        _length_then_error,
    ),
    "late-error": Answer(
        "The text, then an error chunk with usage and `finish_reason: null`",
        _late_error,
    ),
    "middle-error": Answer("An error after the first word, `finish_reason: error`", _middle_error),
    "word-code": Answer(
        "An error after the first word whose code is a word",
        lambda turn: Script(
            chunks=[turn.plain[0], {"error": {"code": "server_error", "message": "Oops"}}]
        ),
    ),
    "first-429": Answer(
        "Status 200, and a 429 inside before any text",
        lambda _: Script(chunks=[": OPENROUTER PROCESSING", error(429, "Slow down")]),
    ),
    "error-in-200": Answer(
        "Status 200 and a JSON body that is an error",
        lambda _: Script(body=error(502, "Provider returned error")),
    ),
    "error-in-choice": Answer("Status 200 and an error in `choices[0]`", _error_in_choice),
    "empty-choices": Answer(
        "Status 200, usage, and no choices",
        lambda turn: Script(body={**turn.head, "choices": [], "usage": turn.usage}),
    ),
    "no-stream": Answer("A JSON body although a stream was wanted", _no_stream),
    "nothing": Answer(
        "A stream of usage and nothing else", lambda turn: Script(chunks=[turn.total])
    ),
    "filtered": Answer(
        "`finish_reason: content_filter` and no text",
        lambda turn: Script(chunks=[turn.chunk("", finish="content_filter"), turn.total]),
    ),
    "cut": Answer(
        "The connection breaks in the middle of the answer",
        lambda turn: Script(chunks=turn.plain, end="cut"),
    ),
    "cut-at-once": Answer(
        "The connection breaks before any text",
        lambda _: Script(chunks=[": OPENROUTER PROCESSING"], end="cut"),
    ),
    "ends-early": Answer(
        "The stream ends in the middle of the answer, as if it were over",
        lambda turn: Script(chunks=turn.plain, end="silent"),
    ),
    "no-done": Answer(
        "The whole answer without `[DONE]`",
        lambda turn: Script(chunks=turn.whole, end="silent"),
    ),
    "mute": Answer(
        "One word, and then nothing for as long as the client stays",
        lambda turn: Script(chunks=turn.plain[:1], end="mute"),
    ),
    "slow": Answer("2000 words, a hundred a second", _slow),
    "not-json": Answer(
        "A chunk that is not JSON",
        lambda turn: Script(chunks=[turn.plain[0], "data: {half"]),
    ),
    "huge-line": Answer(
        "A line of 9 MiB",
        lambda _: Script(chunks=["data: " + "x" * (9 << 20)]),
    ),
    "moderated": Answer("403 by moderation, with its reasons", _moderated),
    "overflow": Answer("400, the context is full", _overflow),
    "no-host": Answer("503, no host may serve this: not to be tried again", _no_host),
    "no-capacity": Answer(
        "503, every host is busy: when to come back is in the body", _no_capacity
    ),
    "raw-429": Answer("429 with the host's own words and `Retry-After`", _raw_429),
    "quotes-key": Answer("400 with the key in the message", _quotes_key),
    "html": Answer(
        "502 and a web page",
        lambda _: Script(
            status=502, body="<html><style>b{}</style><h1>502 Bad Gateway</h1></html>"
        ),
    ),
    "redirect": Answer(
        "301 to another host",
        lambda _: Script(status=301, headers={"Location": "http://example.invalid/"}, body=""),
    ),
}


def text_tokens(received: Received) -> int:
    """Of the text of the messages: four characters each, and eight around them; 12 at least."""
    characters = len("".join(_texts(received.document.get("messages"))))
    return max(12, 8 - -characters // 4)


def _texts(messages: Any) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else [{"text": content}]:
            match part:
                case {"text": str(text)}:
                    yield text
