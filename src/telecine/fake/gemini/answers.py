"""How Gemini answers: in pieces, each with what was used so far; and how that goes wrong.

Media count as Google counts them: by frames, which depend on `fps` and the offsets, and by seconds
of sound, which depend on the offsets alone. A clip that does not tell its length has one second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from telecine.fake.chat import words
from telecine.fake.gemini import rules
from telecine.fake.gemini.errors import problem, refused
from telecine.fake.record import Received, Sent
from telecine.fake.script import Script

LINK_SECONDS = 60.0  # of a video that nobody has looked at
_THOUGHTS = ("Let me ", "look.")
_THOUGHT_TOKENS = 5
_AUDIO_PER_SECOND = 32


class _Prices(NamedTuple):
    """US dollars per million tokens."""

    prompt: Decimal
    audio: Decimal
    cached: Decimal
    completion: Decimal


def _dollars(*amounts: str) -> _Prices:
    return _Prices(*map(Decimal, amounts))


_FLASH = _dollars("0.30", "1.00", "0.03", "2.50")
# As Google charges; every other model costs what 2.5 Flash does.
_PRICES = {
    "gemini-2.5-pro": _dollars("1.25", "1.25", "0.125", "10"),
    "gemini-3.1-pro-preview": _dollars("2", "2", "0.2", "12"),
}
# Of prompts of more tokens, for all of their tokens.
_LONG = 200_000
_LONG_PRICES = {
    "gemini-2.5-pro": _dollars("2.50", "2.50", "0.25", "15"),
    "gemini-3.1-pro-preview": _dollars("4", "4", "0.4", "18"),
}


class Turn:
    """One question with what an answer to it is made of. `pieces`: its text; `whole`: all of it."""

    def __init__(self, received: Received) -> None:
        self.received = received
        self.prompt = dict(_modalities(received))
        self.thoughts = _THOUGHT_TOKENS if _thinks(received) else 0
        self.pieces = words(received.said)

    @property
    def head(self) -> dict[str, Any]:
        return {"modelVersion": self.received.model, "responseId": self.received.id}

    @property
    def whole(self) -> list[dict[str, Any]]:
        """As it should be."""
        return [*self.thinking(), *self.saying(self.pieces), self.end()]

    def thinking(self) -> Iterator[dict[str, Any]]:
        config = self.received.document.get("generationConfig", {})
        if self.thoughts and config.get("thinkingConfig", {}).get("includeThoughts"):
            for text in _THOUGHTS:
                yield self.chunk({"text": text, "thought": True})

    def saying(self, pieces: list[str]) -> Iterator[dict[str, Any]]:
        for count, text in enumerate(pieces, 1):
            yield self.chunk({"text": text}, said=count)

    def chunk(self, *parts: Mapping[str, Any], said: int = 0) -> dict[str, Any]:
        candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
        return {"candidates": [candidate], "usageMetadata": self.usage(said), **self.head}

    def end(self, reason: str = "STOP", **more: Any) -> dict[str, Any]:
        candidate = {"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}
        candidate |= {"finishReason": reason, **more}
        used = self.usage(len(self.pieces))
        return {"candidates": [candidate], "usageMetadata": used, **self.head}

    def usage(self, said: int, **more: Any) -> dict[str, Any]:
        """What was used so far."""
        prompt = sum(self.prompt.values())
        told: dict[str, Any] = {
            "promptTokenCount": prompt,
            "totalTokenCount": prompt + said + self.thoughts,
            "promptTokensDetails": [
                {"modality": name, "tokenCount": count} for name, count in self.prompt.items()
            ],
        }
        if said:
            told["candidatesTokenCount"] = said
        if self.thoughts:
            told["thoughtsTokenCount"] = self.thoughts
        return {**told, **more}


def cost(model: str, used: Mapping[str, Any]) -> Decimal:
    """What Google charges for a usage."""
    prompt = int(used.get("promptTokenCount", 0))
    prices = _PRICES.get(model, _FLASH)
    if prompt > _LONG:
        prices = _LONG_PRICES.get(model, prices)
    cached = int(used.get("cachedContentTokenCount", 0))
    details = used.get("promptTokensDetails", ())
    audio = sum(each.get("tokenCount", 0) for each in details if each["modality"] == "AUDIO")
    audio = int(min(audio, prompt - cached))
    completion = int(used.get("candidatesTokenCount", 0)) + int(used.get("thoughtsTokenCount", 0))
    millionths = (
        (prompt - cached - audio) * prices.prompt
        + audio * prices.audio
        + cached * prices.cached
        + completion * prices.completion
    )
    return millionths / 10**6


def whole(chunks: list[Any]) -> dict[str, Any]:
    """The chunks as the one answer of generateContent."""
    given = [chunk for chunk in chunks if isinstance(chunk, dict)]
    made: dict[str, Any] = {}
    said: list[Any] = []
    for chunk in given:
        if "error" in chunk:
            return chunk
        for candidate in chunk.get("candidates", ()):
            said += candidate.get("content", {}).get("parts", ())
        made |= chunk
    if made.get("candidates"):
        last = made["candidates"][0]
        made["candidates"] = [{**last, "content": {"parts": _joined(said), "role": "model"}}]
    return made


def _joined(said: list[Any]) -> list[Any]:
    made: list[Any] = []
    for part in said:
        if made and made[-1].get("thought") == part.get("thought"):
            made[-1] = {**made[-1], "text": made[-1]["text"] + part["text"]}
        else:
            made.append(part)
    return made


# ---------------------------------------------------------------- tokens


def _thinks(received: Received) -> bool:
    if rules.generation(received.model) < (2, 5):
        return False
    config = received.document.get("generationConfig", {}).get("thinkingConfig", {})
    return bool(config.get("thinkingBudget") != 0)


def _modalities(received: Received) -> Iterator[tuple[str, int]]:
    """Prompt tokens; those of one modality in one entry."""
    document = received.document
    texts = [part["text"] for part in rules.parts(document) if isinstance(part.get("text"), str)]
    system = document.get("systemInstruction", {}).get("parts", ())
    texts += [part.get("text", "") for part in system]
    counts = {"TEXT": max(1, -(-len("".join(texts)) // 4))}
    blobs = iter(received.media)
    for part in rules.parts(document):
        if "inlineData" not in part and "fileData" not in part:
            continue
        uri = part.get("fileData", {}).get("fileUri", "")
        medium = Sent("video", "", 0, "", LINK_SECONDS) if uri in received.links else next(blobs)
        for name, count in _of_medium(medium, part, received):
            counts[name] = counts.get(name, 0) + count
    yield from counts.items()


def _of_medium(
    medium: Sent, part: Mapping[str, Any], received: Received
) -> Iterator[tuple[str, int]]:
    is_newer = rules.generation(received.model) >= (3, 0)
    match medium.kind:
        case "image":
            yield "IMAGE", 1120 if is_newer else 258
        case "audio":
            yield "AUDIO", math.ceil((medium.seconds or 1.0) * _AUDIO_PER_SECOND)
        case "file":
            yield "DOCUMENT", 560 if is_newer else 258
        case _:
            seen = part.get("videoMetadata", {})
            seconds = _looked_at(medium.seconds or 1.0, seen)
            frames = max(1, math.ceil(seconds * seen.get("fps", 1.0)))
            yield "VIDEO", frames * _per_frame(part, received)
            yield "AUDIO", math.ceil(seconds * _AUDIO_PER_SECOND)


def _looked_at(seconds: float, seen: Mapping[str, Any]) -> float:
    end = min(seconds, float(seen.get("endOffset", "inf").removesuffix("s")))
    return max(0.0, end - float(seen.get("startOffset", "0s").removesuffix("s")))


def _per_frame(part: Mapping[str, Any], received: Received) -> int:
    config = received.document.get("generationConfig", {})
    level = part.get("mediaResolution", {}).get("level") or config.get("mediaResolution", "")
    if rules.generation(received.model) >= (3, 0):
        return 280 if level.endswith("HIGH") else 70
    return 66 if level.endswith("LOW") else 258


# ---------------------------------------------------------------- switches


def _blocked(turn: Turn, reason: str) -> Script:
    rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH"}
    feedback = {"blockReason": reason, "safetyRatings": [{**rating, "blocked": True}]}
    used = turn.usage(0)
    return Script(chunks=[{"promptFeedback": feedback, "usageMetadata": used, **turn.head}])


def _safety(turn: Turn, reason: str) -> dict[str, Any]:
    rating = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}
    candidate = {"content": {}, "finishReason": reason, "index": 0, "safetyRatings": [rating]}
    return {"candidates": [candidate], "usageMetadata": turn.usage(0), **turn.head}


def _midway(turn: Turn, reason: str) -> Script:
    last = _safety(turn, reason)
    last["usageMetadata"] = turn.usage(2)
    return Script(chunks=[*turn.saying(turn.pieces[:2]), last])


def _silent_drop(turn: Turn) -> Script:
    turn.prompt = {"TEXT": turn.prompt["TEXT"]}
    turn.pieces = words("A charming outdoor cafe.")
    return Script(chunks=turn.whole)


def _uncounted(turn: Turn, names: set[str]) -> Script:
    last = turn.end()
    for entry in last["usageMetadata"]["promptTokensDetails"]:
        if entry["modality"] in names:
            del entry["tokenCount"]
    return Script(chunks=[*turn.saying(turn.pieces), last])


def _cached(turn: Turn) -> Script:
    last = turn.end()
    last["usageMetadata"]["cachedContentTokenCount"] = turn.prompt["TEXT"]
    return Script(chunks=[*turn.saying(turn.pieces), last])


def _no_usage(turn: Turn) -> Script:
    chunks = [{**chunk} for chunk in turn.whole]
    for chunk in chunks:
        del chunk["usageMetadata"]
    return Script(chunks=chunks)


def _thoughts_only(turn: Turn) -> Script:
    thought = turn.chunk({"text": "Endless", "thought": True})
    turn.pieces = []
    return Script(chunks=[thought, turn.end("MAX_TOKENS")])


def _snake(turn: Turn) -> Script:
    def told(value: Any) -> Any:
        if isinstance(value, list):
            return [told(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            "".join(f"_{c.lower()}" if c.isupper() else c for c in name): told(inner)
            for name, inner in value.items()
        }

    return Script(chunks=[told(chunk) for chunk in turn.whole])


def _quotes_key(turn: Turn) -> Script:
    key = turn.received.headers.get("x-goog-api-key", "")
    return refused(400, f"Bad request with key {key}")


def _slow(turn: Turn) -> Script:
    words_ = [turn.chunk({"text": f"{n} "}, said=n) for n in range(2000)]
    return Script(chunks=words_, seconds_per_chunk=0.01)


@dataclass(frozen=True, slots=True)
class Answer:
    """A way to answer. `does` is a sentence for the documentation."""

    does: str
    make: Callable[[Turn], Script]


SWITCHES: Mapping[str, Answer] = {
    "prompt-blocked": Answer(
        "`promptFeedback` with SAFETY, and no candidates", lambda turn: _blocked(turn, "SAFETY")
    ),
    "prompt-blocked-other": Answer(
        "`promptFeedback` with OTHER, and no candidates", lambda turn: _blocked(turn, "OTHER")
    ),
    "blocked": Answer(
        "A candidate with `content: {}` and SAFETY, usage without its tokens",
        lambda turn: Script(chunks=[_safety(turn, "SAFETY")]),
    ),
    "blocked-midway": Answer(
        "SAFETY after two words", lambda turn: _midway(turn, "PROHIBITED_CONTENT")
    ),
    "recitation": Answer("RECITATION after two words", lambda turn: _midway(turn, "RECITATION")),
    "uncounted": Answer(
        "Details of the usage without `tokenCount` for video",
        lambda turn: _uncounted(turn, {"VIDEO"}),
    ),
    "uncounted-all": Answer(
        "Details of the usage without any `tokenCount`",
        lambda turn: _uncounted(turn, set(turn.prompt)),
    ),
    "silent-drop": Answer(
        "The video is dropped: text tokens alone, and an invented answer", _silent_drop
    ),
    "cached": Answer("A part of the prompt comes from the cache", _cached),
    "no-usage": Answer("Usage is never told", _no_usage),
    "thoughts-only": Answer("Thoughts, no text, MAX_TOKENS", _thoughts_only),
    "max-tokens": Answer(
        "The answer stops where the tokens ran out",
        lambda turn: Script(chunks=[*turn.saying(turn.pieces), turn.end("MAX_TOKENS")]),
    ),
    "odd-finish": Answer(
        "A finish reason that nobody knows, after the text",
        lambda turn: Script(chunks=[*turn.saying(turn.pieces), turn.end("TIRED_OF_IT")]),
    ),
    "malformed": Answer(
        "MALFORMED_RESPONSE, and no text",
        lambda turn: Script(chunks=[turn.end("MALFORMED_RESPONSE", finishMessage="No luck")]),
    ),
    "snake-case": Answer("All names in snake case", _snake),
    "alphabets": Answer(
        "A greeting in several alphabets, then the answer",
        lambda turn: Script(chunks=[turn.chunk({"text": "Grüße, 世界 🎬 "}), *turn.whole]),
    ),
    "list-error": Answer(
        "400, wrapped in a list",
        lambda _: Script(status=400, body=[problem(400, "It is a list")]),
    ),
    "middle-error": Answer(
        "An error after the first word",
        lambda turn: Script(
            chunks=[*turn.saying(turn.pieces[:1]), problem(503, "The model is overloaded.")]
        ),
    ),
    "word-code": Answer(
        "An error after the first word whose code is a word",
        lambda turn: Script(
            chunks=[
                *turn.saying(turn.pieces[:1]),
                {"error": {"code": "INTERNAL", "message": "Oops"}},
            ]
        ),
    ),
    "middle-list-error": Answer(
        "An error after the first word, wrapped in a list",
        lambda turn: Script(chunks=[*turn.saying(turn.pieces[:1]), [problem(500, "Internal")]]),
    ),
    "first-429": Answer(
        "Status 200, and a 429 inside before any text",
        lambda _: Script(chunks=[problem(429, "Slow down", retryDelay="7s")]),
    ),
    "quota": Answer(
        "429 with the time to wait as RetryInfo alone",
        lambda _: refused(429, "You exceeded your current quota", retryDelay="37.5s"),
    ),
    "overflow": Answer(
        "400, the context is full",
        lambda _: refused(
            400,
            "The input token count (1200000) exceeds the maximum number of tokens allowed "
            "(1048576).",
        ),
    ),
    "bad-mime": Answer(
        "400, a kind of file that it does not take",
        lambda _: refused(400, "Unsupported MIME type: video/x-matroska"),
    ),
    "bad-url": Answer(
        "400, an address that it does not fetch",
        lambda _: refused(400, "Cannot fetch content: URL_RETRIEVAL_STATUS_UNSAFE"),
    ),
    "private-link": Answer(
        "403, a video on YouTube that is not public",
        lambda _: refused(403, "The caller does not have permission"),
    ),
    "413": Answer("413, the body is too large", lambda _: refused(413, "Request is too large")),
    "nothing": Answer("A stream of nothing", lambda _: Script(chunks=[])),
    "ends-early": Answer(
        "The stream ends in the middle of the answer, as if it were over",
        lambda turn: Script(chunks=list(turn.saying(turn.pieces)), end="silent"),
    ),
    "cut": Answer(
        "The connection breaks in the middle of the answer",
        lambda turn: Script(chunks=list(turn.saying(turn.pieces)), end="cut"),
    ),
    "mute": Answer(
        "One word, and then nothing for as long as the client stays",
        lambda turn: Script(chunks=list(turn.saying(turn.pieces[:1])), end="mute"),
    ),
    "slow": Answer("2000 words, a hundred a second", _slow),
    "not-json": Answer(
        "A chunk that is not JSON",
        lambda turn: Script(chunks=[*turn.saying(turn.pieces[:1]), "data: {half"]),
    ),
    "no-stream": Answer(
        "A JSON list although a stream was wanted", lambda turn: Script(body=turn.whole)
    ),
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
