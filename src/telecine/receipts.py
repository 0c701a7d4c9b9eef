"""What a run was given and came to, told as the receipt (docs/reference/receipt.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telecine.errors import TelecineError
from telecine.media import plan
from telecine.models import (
    Audio,
    Image,
    LinkPart,
    Log,
    Media,
    Part,
    Receipt,
    Request,
    RouterRequest,
    Upstream,
    Usage,
    Video,
)
from telecine.providers.registry import Route


class Story:
    """What happened so far to `request`. The pipeline fills it; `receipt` tells it at any time."""

    def __init__(self, request: Request, clock: Callable[[], float]) -> None:
        self.request = request
        self.media: list[Media] = []
        self.usage: Usage | None = None
        self.upstream: Upstream | None = None
        self.warnings: list[str] = []
        self._asked: RouterRequest | None = None
        self._route: Route | None = None
        self._parts: list[Part] = []
        self._clock = clock
        self._started = clock()
        self._seconds: dict[str, float] = {}

    @property
    def finish_reason(self) -> str | None:
        return self.upstream.finish_reason if self.upstream else None

    def took(self, asked: RouterRequest, route: Route) -> None:
        self._asked, self._route = asked, route

    def prepared(self, parts: list[Part]) -> None:
        self._parts = parts
        self._lap("prepare")

    def heard(self, log: Log) -> None:
        """What a provider warns of stands in the receipt too."""
        if log.level == "WARN":
            self.warnings.append(log.message)

    def first_delta(self) -> None:
        if "first_text" not in self._seconds:
            self._lap("first_text")

    def _lap(self, stage: str) -> None:
        self._seconds[stage] = round(self._clock() - self._started, 4)

    def receipt(self, error: TelecineError | None) -> Receipt:
        self._lap("total")
        usage, upstream = self.usage, self.upstream
        body: dict[str, Any] = {
            "request_id": self.request.id,
            "endpoint": self.request.endpoint,
            "attempt": self.request.attempt,
            "model": self._asked.model if self._asked else None,
            "provider": self._route.provider.name if self._route else None,
            "provider_model": self._route.model if self._route else None,
            **self._shown_media(),
            "upstream": upstream
            and {
                "id": upstream.id,
                "model": upstream.model,
                "provider": upstream.provider,
                "finish_reason": upstream.finish_reason,
            },
            "usage": usage
            and {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
                "cached_tokens": usage.cached_tokens,
                "prompt_tokens_by_modality": dict(usage.by_modality),
            },
            "cost": {
                "usd": None if usage is None or usage.cost is None else str(usage.cost),
                "source": usage.cost_source if usage else "unknown",
            },
            "warnings": [w for medium in self.media for w in medium.warnings] + self.warnings,
            "error": error and {"type": error.type, "message": error.message},
            "seconds": self._seconds,
        }
        return Receipt(body)

    def _shown_media(self) -> dict[str, list[dict[str, Any]]]:
        shown: dict[str, list[dict[str, Any]]] = {
            "videos": [],
            "images": [],
            "audio": [],
            "documents": [],
        }
        for medium in self.media:
            name, modality, facts = _facts(medium)
            shown[name].append(
                {
                    "index": medium.index,
                    "found": medium.found,
                    "origin": medium.origin,
                    "mime": medium.mime,
                    "bytes": medium.bytes,
                    "sha256": medium.sha256,
                    **facts,
                    **self._sent(medium, modality),
                }
            )
        names = self._asked.media if self._asked else ()
        indexes = {name.loc: name.index for name in names}
        shown["videos"] += [
            {"index": indexes[p.loc], "found": "link", "origin": p.url, "sent": plan.describe(p)}
            for p in self._parts
            if isinstance(p, LinkPart)
        ]
        return shown

    def _sent(self, medium: Media, modality: str) -> dict[str, Any]:
        """How it went out, and "seen": "yes" only on the evidence of modality tokens."""
        parts = (part for part in self._parts if not isinstance(part, LinkPart))
        part = next((part for part in parts if part.media is medium), None)
        if part is None:
            return {"sent": None, "seen": "no"}
        # The tokens are those of all together: of several they prove none by itself.
        alike = [p for p in self._parts if isinstance(p, LinkPart) or type(p.media) is type(medium)]
        tokens = self.usage.by_modality.get(modality, 0) if self.usage else 0
        is_seen = tokens > 0 and len(alike) == 1
        return {"sent": plan.describe(part), "seen": "yes" if is_seen else "unknown"}


def _facts(medium: Media) -> tuple[str, str, dict[str, Any]]:
    """Where it is listed, by which tokens it is known to be seen, and what it is."""
    match medium:
        case Video():
            return (
                "videos",
                "video",
                {
                    "container": medium.container,
                    "seconds": medium.seconds,
                    "width": medium.width,
                    "height": medium.height,
                    "fps": medium.fps,
                    "rotation": medium.rotation,
                    "video_codec": medium.video_codec,
                    "audio_codec": medium.audio_codec,
                },
            )
        case Image():
            size = {"width": medium.width, "height": medium.height}
            return "images", "image", {"format": medium.format, **size}
        case Audio():
            length = {"seconds": medium.seconds, "codec": medium.codec}
            return "audio", "audio", {"format": medium.format, **length}
    return "documents", "file", {}
