"""The servers that speak chat completions, each in its own way: usage, errors, what it refuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from telecine.fake import chat
from telecine.fake.chat import Turn
from telecine.fake.record import Received, Sent
from telecine.fake.script import Script, Switch

# What everybody charges who charges, in US dollars per token.
PROMPT_PRICE, COMPLETION_PRICE = Decimal("0.0000003"), Decimal("0.0000025")
TOKENS_PER_SECOND = TOKENS_PER_IMAGE = 258
TOKENS_PER_SECOND_OF_SOUND = 32
_MEGABYTE = 1_000_000


class Dialect:
    """What all of them have in common. `prefix`: of the ids of answers; `charges`: money."""

    name: ClassVar[str]
    prefix: ClassVar[str] = "chatcmpl-"
    charges: ClassVar[bool] = False
    host: ClassVar[str] = ""
    models: ClassVar[Sequence[str]] = ("Qwen/Qwen3-VL-8B",)
    switches: ClassVar[Mapping[str, Switch]] = {}

    def listed(self) -> dict[str, Any]:
        """What GET /models answers."""
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}

    def usage(self, received: Received) -> dict[str, Any]:
        """What a plain answer uses."""
        prompt = chat.text_tokens(received) + sum(media_tokens(received).values())
        completion = len(chat.words(received.said))
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def cost(self, usage: Mapping[str, Any]) -> Decimal:
        if not self.charges:
            return Decimal(0)
        prompt, completion = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        return prompt * PROMPT_PRICE + completion * COMPLETION_PRICE

    def bill(self, told: Mapping[str, Any]) -> Decimal:
        """What an answer costs that told this usage."""
        return self.cost(told)

    def refusal(self, status: int, message: str, kind: str = "") -> Script:
        inner = {"message": message, "type": kind or "Error", "param": None, "code": status}
        return Script(status=status, body={"error": inner})

    def script(self, turn: Turn) -> Script | None:
        """What a switch of its own does; None: it has no such switch."""
        return None

    def objection(self, received: Received) -> Script | None:
        """What it does not take."""
        return None


class Generic(Dialect):
    name = "generic"


class VLLM(Dialect):
    name = "vllm"
    switches: ClassVar[Mapping[str, Switch]] = {
        "at-most-one": Switch("400 where there is more than one video"),
        "fetch-error": Switch("422, a video's address did not answer"),
        "flat-error": Switch("400 in the shape that older releases have"),
    }

    def usage(self, received: Received) -> dict[str, Any]:
        inside = {"multimodal_tokens": media_tokens(received)}
        return {**super().usage(received), "prompt_tokens_details": inside}

    def refusal(self, status: int, message: str, kind: str = "") -> Script:
        types = {400: "BadRequestError", 404: "NotFoundError", 422: "UnprocessableEntityError"}
        return super().refusal(status, message, types.get(status, "InternalServerError"))

    def script(self, turn: Turn) -> Script | None:
        match turn.received.switch:
            case "at-most-one":
                if count_videos(turn.received) <= 1:
                    return Script(chunks=turn.whole)
                return self.refusal(400, "At most 1 video(s) may be provided in one prompt.")
            case "fetch-error":
                refusal = self.refusal(422, "Failed to fetch media from URL: HTTP 404 error")
                refusal.body["error"]["param"] = "image_url"
                return refusal
            case "flat-error":
                return flat(400, "This model does not support video input", "BadRequestError")
        return None

    def objection(self, received: Received) -> Script | None:
        if any(link.startswith("data:") for link in received.links):
            return self.refusal(501, "Only base64 data URLs are supported for now.")
        if any(not link.startswith(("http://", "https://")) for link in received.links):
            return self.refusal(422, "The URL must be either a HTTP, data or file URL.")
        return None


class SGLang(Dialect):
    name = "sglang"

    def usage(self, received: Received) -> dict[str, Any]:
        tokens = media_tokens(received)
        inside = {f"{kind}_tokens": count for kind, count in tokens.items()}
        details = {"cached_tokens": 0, **inside}
        return {**super().usage(received), "prompt_tokens_details": details}

    def refusal(self, status: int, message: str, kind: str = "") -> Script:
        return flat(status, message, kind or "Error")

    def objection(self, received: Received) -> Script | None:
        if any(video.pieces > 1 for video in received.videos):
            return self.refusal(400, "Could not decode video: Incorrect padding")
        return None


class LlamaCpp(Dialect):
    name = "llamacpp"

    def listed(self) -> dict[str, Any]:
        sees = {"input_modalities": ["text", "image", "video"], "output_modalities": ["text"]}
        data = [{"id": name, "object": "model", "architecture": sees} for name in self.models]
        return {"object": "list", "data": data}

    def refusal(self, status: int, message: str, kind: str = "") -> Script:
        types = {401: "authentication_error", 404: "not_found_error", 501: "not_supported_error"}
        types |= {500: "server_error", 503: "unavailable_error"}
        inner = {"code": status, "message": message}
        type_ = types.get(status, "invalid_request_error")
        return Script(status=status, body={"error": {**inner, "type": type_}})


class Ollama(Dialect):
    name = "ollama"
    models = ("qwen3-vl:8b",)

    def objection(self, received: Received) -> Script | None:
        if count_videos(received):
            return self.refusal(400, "invalid message content type: video_url", "api_error")
        return None


class DashScope(Dialect):
    name = "dashscope"
    charges = True
    models = ("qwen3-vl-plus", "qwen3.5-omni-plus")

    def objection(self, received: Received) -> Script | None:
        if any(video.bytes * 4 / 3 > 10 * _MEGABYTE for video in received.videos):
            return self.refusal(400, "Exceeded limit on max bytes per data-uri item : 10485760")
        return None


class ZAI(Dialect):
    name = "zai"
    charges = True
    models = ("glm-4.6v", "glm-4.5v")

    def refusal(self, status: int, message: str, kind: str = "") -> Script:
        return Script(status=status, body={"error": {"code": str(status), "message": message}})

    def objection(self, received: Received) -> Script | None:
        most = 1 if received.model == "glm-4.5v" else 2
        if count_videos(received) > most:
            return self.refusal(400, f"no more than {most} video(s) per request")
        if received.of("file") and (count_videos(received) or received.of("image")):
            return self.refusal(400, "files can not be mixed with images or videos")
        return None


class Kimi(Dialect):
    """Takes data URIs and what was uploaded, and no addresses."""

    name = "kimi"
    charges = True
    models = ("kimi-k2.6", "kimi-k2.7")

    def __init__(self) -> None:
        self.files: dict[str, Sent] = {}

    def objection(self, received: Received) -> Script | None:
        for link in received.links:
            if not link.startswith("ms://"):
                return self.refusal(400, "unsupported image url", "invalid_request_error")
            if link.removeprefix("ms://") not in self.files:
                return self.refusal(404, f"file not found: {link}", "invalid_request_error")
        if received.model == "kimi-k2.7" and received.document.get("temperature", 1) != 1:
            return self.refusal(400, "invalid temperature: only 1 is allowed for this model")
        return None

    def resolve(self, received: Received) -> None:
        """Uploads are videos that arrived."""
        names = [link.removeprefix("ms://") for link in received.links]
        received.media += [self.files[name] for name in names if name in self.files]
        received.links[:] = [
            link for link in received.links if link.removeprefix("ms://") not in self.files
        ]


class Ark(Dialect):
    name = "ark"
    charges = True
    models = ("seed-2.0-lite",)

    def objection(self, received: Received) -> Script | None:
        wanted = received.document.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            return self.refusal(400, "json_schema is not supported by this model", "BadRequest")
        return None


class Early413(Dialect):
    """Refuses every body before it was read."""

    name = "early413"


class HangUp(Dialect):
    """Takes every request and closes the connection."""

    name = "hangup"


OTHERS: tuple[type[Dialect], ...] = (
    VLLM,
    SGLang,
    LlamaCpp,
    Ollama,
    DashScope,
    ZAI,
    Kimi,
    Ark,
    Generic,
    Early413,
    HangUp,
)


def count_videos(received: Received) -> int:
    return len(received.videos) + len(received.links)


def media_tokens(received: Received) -> dict[str, int]:
    """Per second of video, one at least; videos by address count as one of unknown length."""
    seconds = [video.seconds or 1 for video in received.videos] + [1] * len(received.links)
    counts = {
        "video": sum(TOKENS_PER_SECOND * max(1, math.ceil(each)) for each in seconds),
        "image": TOKENS_PER_IMAGE * len(received.of("image")),
        "audio": TOKENS_PER_SECOND_OF_SOUND * len(received.of("audio")),
    }
    return {kind: count for kind, count in counts.items() if count or kind == "video"}


def flat(status: int, message: str, kind: str) -> Script:
    """An error in the shape of older vLLM, and of SGLang."""
    inner = {"object": "error", "message": message, "type": kind, "param": None}
    return Script(status=status, body={**inner, "code": status})
