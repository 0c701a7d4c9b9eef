"""The one pipeline: a Request in, a stream of Events out. Run, stream and queue are its consumers.

    1  endpoints.parse_input(document)          -> what is asked for, or the 422 entries
    2  registry.resolve(model)             -> the provider, and what it accepts
    3  sources.fetch(videos)               -> files on this disk that were opened and looked at
    4  plan.parts(videos, capabilities)    -> what will be sent
    5  provider.generate(call)             -> text, reasoning, usage, as they come
    6  ledger.priced(usage)                -> the cost, and where the figure comes from
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from telecine import endpoints, ledger
from telecine.errors import InputError, TelecineError
from telecine.media import plan
from telecine.media.sources import Sources
from telecine.models import (
    Call,
    Delta,
    Done,
    Event,
    LinkPart,
    Log,
    Part,
    Receipt,
    Request,
    RouterRequest,
    Upstream,
    Usage,
    Video,
)
from telecine.providers.registry import Registry, Route


class Inference:
    """Holds no state of its own between runs; everything it uses is opened and closed by `app`."""

    def __init__(
        self,
        *,
        registry: Registry,
        sources: Sources,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._sources = sources
        self._clock = clock

    async def run(self, request: Request) -> AsyncGenerator[Event, None]:
        """Do `request`. Yields Log and Delta as they come, then Usage, Receipt and Done.

        Raises TelecineError; whatever is known by then was yielded as Usage and Receipt before.
        Closing the generator stops the upstream work.
        """
        story = _Story(request, self._clock)
        try:
            asked = endpoints.parse_input(request.endpoint, request.document)
            _refuse_data_as_text(request, asked)
            route = await self._registry.resolve(asked.model)
            story.took(asked, route)
            async with self._sources.hold(request) as held:
                parts: list[Part] = list(plan.links(asked.media, route.capabilities))
                names = [name for name in asked.media if not plan.is_link(name.text)]
                async for item in held.fetch(names, route.capabilities):
                    if isinstance(item, Log):
                        yield item
                    else:
                        story.videos.append(item)
                parts = plan.parts(
                    asked.media, story.videos, parts, route.capabilities, held.decoder
                )
                story.prepared(parts)
                call = _call(request, asked, route, parts)
                async with aclosing(route.provider.generate(call)) as events:  # type: ignore[type-var]
                    async for event in events:
                        match event:
                            case Usage():
                                story.usage = ledger.priced(event, route.price)
                            case Upstream():
                                story.upstream = event
                            case Delta():
                                story.first_delta()
                                yield event
                            case Log():
                                yield event
        except TelecineError as error:
            if story.usage:
                yield story.usage
            yield story.receipt(error)
            raise
        if story.usage is None:
            story.usage = Usage()
            story.warnings.append("the provider reported no usage")
        yield story.usage
        yield story.receipt(None)
        yield Done(story.upstream.finish_reason if story.upstream else None)


def _refuse_data_as_text(request: Request, asked: RouterRequest) -> None:
    """A long data URI anywhere in a body becomes a placeholder; only videos have a use for one."""
    for field in ("prompt", "system_prompt", "model"):
        if getattr(asked, field) in request.attachments:
            raise InputError("Input should be text, not a data URI", loc=("body", field))


def _call(request: Request, asked: RouterRequest, route: Route, parts: list[Part]) -> Call:
    return Call(
        request_id=request.id,
        model=route.model,
        prompt=asked.prompt,
        parts=tuple(parts),
        system_prompt=asked.system_prompt,
        reasoning=asked.reasoning,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
    )


class _Story:
    """What happened so far, to be told as the receipt (docs/reference/receipt.md)."""

    def __init__(self, request: Request, clock: Callable[[], float]) -> None:
        self.request = request
        self.videos: list[Video] = []
        self.usage: Usage | None = None
        self.upstream: Upstream | None = None
        self.warnings: list[str] = []
        self._asked: RouterRequest | None = None
        self._route: Route | None = None
        self._parts: list[Part] = []
        self._clock = clock
        self._started = clock()
        self._seconds: dict[str, float] = {}

    def took(self, asked: RouterRequest, route: Route) -> None:
        self._asked, self._route = asked, route

    def prepared(self, parts: list[Part]) -> None:
        self._parts = parts
        self._lap("prepare")

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
            "videos": [_video(video, self._parts, usage) for video in self.videos]
            + [
                {"index": part.loc[-1], "found": "link", "origin": part.url, "sent": {"as": "link"}}
                for part in self._parts
                if isinstance(part, LinkPart)
            ],
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
            "warnings": [w for video in self.videos for w in video.warnings] + self.warnings,
            "error": error and {"type": error.type, "message": error.message},
            "seconds": self._seconds,
        }
        return Receipt(body)


def _video(video: Video, parts: list[Part], usage: Usage | None) -> dict[str, Any]:
    sent = next((p for p in parts if not isinstance(p, LinkPart) and p.media is video), None)
    return {
        "index": video.index,
        "found": video.found,
        "origin": video.origin,
        "container": video.container,
        "mime": video.mime,
        "seconds": video.seconds,
        "bytes": video.bytes,
        "sha256": video.sha256,
        "width": video.width,
        "height": video.height,
        "fps": video.fps,
        "rotation": video.rotation,
        "video_codec": video.video_codec,
        "audio_codec": video.audio_codec,
        "sent": sent and plan.describe(sent),
        "seen": _seen(usage) if sent else "no",
    }


def _seen(usage: Usage | None) -> str:
    """"yes" only on the evidence of modality tokens (providers.md 8.2); else "unknown"."""
    return "yes" if usage and usage.by_modality.get("video", 0) > 0 else "unknown"
