"""The receipt: what a request was, what the model was given of it, and what came of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from telecine import ledger
from telecine.errors import Loc, TelecineError
from telecine.evidence import Evidence, Verdict
from telecine.media import plan
from telecine.models import (
    Audio,
    Bill,
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
        self.bills: list[Bill] = []
        self.upstream: Upstream | None = None
        self.warnings: list[str] = []
        self.has_begun = False  # something of the answer was given
        self._asked: RouterRequest | None = None
        self._route: Route | None = None
        self._plan: plan.Plan | None = None
        self._parts: list[Part] = []
        self._verdicts: dict[Loc, Verdict] = {}
        self._is_low = False
        self._deliveries: list[dict[str, Any]] = []
        self._fallbacks: list[dict[str, Any]] = []
        self._segments: list[dict[str, Any]] = []
        self._earlier: list[Usage] = []
        self._output: str | None = None
        self._clock = clock
        self._started = clock()
        self._seconds: dict[str, float] = {}

    @property
    def finish_reason(self) -> str | None:
        return self.upstream.finish_reason if self.upstream else None

    @property
    def usages(self) -> list[Usage]:
        """Of every call, those of earlier attempts among them whose work was used again."""
        return [*self._earlier, *(bill.usage for bill in self.bills if bill.usage is not None)]

    @property
    def usage(self) -> Usage:
        """Of all calls together."""
        return ledger.total(self.usages)

    def took(self, asked: RouterRequest, route: Route) -> None:
        self._asked, self._route = asked, route
        self._plan, self._parts = None, []

    def fetched(self) -> None:
        self._lap("fetch")

    def planned(self, made: plan.Plan) -> None:
        """From here on a delivery is under way."""
        self._plan, self._parts = made, []
        self.warn(made.warnings)
        route = self._route
        self._deliveries.append(
            {
                "provider": route.provider.name if route else None,
                "model": route.model if route else None,
                "forms": list(dict.fromkeys(video.form for video in made.videos)),
                "ended": None,
            }
        )

    def prepared(self, parts: Sequence[Part]) -> None:
        self._parts = list(parts)
        self._lap("prepare")

    def answered(self) -> None:
        self._ends("answered")

    def refused(self, error: TelecineError) -> None:
        """What was under way came to nothing."""
        self._ends(error.message)

    def falls_back(self, model: str, error: TelecineError) -> None:
        self.refused(error)
        self._fallbacks.append({"model": model, "type": error.type, "message": error.message})

    def judged(self, evidence: Evidence) -> None:
        """Of the stretches of one video the worst verdict stands, as it is known."""
        for loc, verdict in evidence.verdicts.items():
            known = self._verdicts.get(loc)
            if known is None or known.seen == "yes" or verdict.seen == "no":
                self._verdicts[loc] = verdict
        self._is_low = self._is_low or evidence.is_low

    def segment(self, shown: Mapping[str, Any], *, earlier: Usage | None = None) -> None:
        """A stretch is done; `earlier`: by another attempt, which used this."""
        self._segments.append({**shown, "resumed": earlier is not None})
        if earlier is not None:
            self._earlier.append(earlier)

    def withheld(self, output: str) -> None:
        """Text that was paid for, of a request that fails all the same."""
        self._output = output

    def heard(self, log: Log) -> None:
        """What a provider warns of stands in the receipt too."""
        if log.level == "WARN":
            self.warn([log.message])

    def warn(self, messages: Sequence[str]) -> None:
        """Once each."""
        self.warnings += [message for message in messages if message not in self.warnings]

    def begins(self) -> None:
        """The first piece of the answer."""
        self.has_begun = True
        if "first_text" not in self._seconds:
            self._lap("first_text")

    def _ends(self, how: str) -> None:
        if self._deliveries and self._deliveries[-1]["ended"] is None:
            self._deliveries[-1]["ended"] = how

    def _lap(self, stage: str) -> None:
        self._seconds.pop(stage, None)
        self._seconds[stage] = round(self._clock() - self._started, 4)

    # ------------------------------------------------------------ as JSON

    def receipt(self, error: TelecineError | None) -> Receipt:
        return Receipt(partial(self._written, error))

    def _written(self, error: TelecineError | None) -> dict[str, Any]:
        self._lap("total")
        usages, upstream = self.usages, self.upstream
        usage = ledger.total(usages)
        body: dict[str, Any] = {
            "request_id": self.request.id,
            "endpoint": self.request.endpoint,
            "attempt": self.request.attempt,
            "model": self._asked.model if self._asked else None,
            "provider": self._route.provider.name if self._route else None,
            "provider_model": self._route.model if self._route else None,
            **self._shown_media(),
            "plan": plan.shown(self._plan) if self._plan else None,
            "deliveries": self._deliveries,
            "fallbacks": self._fallbacks,
            "segments": sorted(self._segments, key=lambda segment: segment["number"]),
            "upstream": upstream
            and {
                "id": upstream.id,
                "model": upstream.model,
                "provider": upstream.provider,
                "finish_reason": upstream.finish_reason,
            },
            "usage": self._shown_usage(usage) if usages else None,
            "bills": [_shown_bill(bill) for bill in self.bills],
            "cost": {
                "usd": None if usage.cost is None else f"{usage.cost:f}",
                "source": usage.cost_source,
                "known_usd": f"{ledger.known_cost(usages):f}",
            },
            "warnings": [
                *dict.fromkeys([w for medium in self.media for w in medium.warnings]),
                *self.warnings,
            ],
            "error": error and {"type": error.type, "message": error.message},
            "seconds": dict(self._seconds),
        }
        if self._output is not None:
            body["output"] = self._output
        return body

    def _shown_usage(self, usage: Usage) -> dict[str, Any]:
        return {
            **_tokens(usage),
            "reasoning_tokens": usage.reasoning_tokens,
            "cached_tokens": usage.cached_tokens,
            "prompt_tokens_by_modality": dict(usage.by_modality),
            "confidence": "low" if self._is_low else "normal",
        }

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
            {
                "index": indexes[part.loc],
                "found": "link",
                "origin": part.url,
                "sent": plan.describe(part),
                **self._seen(part.loc),
            }
            for part in self._parts
            if isinstance(part, LinkPart) and part.video is None
        ]
        return shown

    def _sent(self, medium: Media, modality: str) -> dict[str, Any]:
        """How it went out, and whether it was seen."""
        part = next((part for part in self._parts if _loc(part) == medium.loc), None)
        if isinstance(medium, Video):
            in_stretches = bool(self._segments) or part is not None
            seen = self._seen(medium.loc) if in_stretches else {"seen": "no"}
            return {"sent": part and plan.describe(part), **seen}
        if part is None:
            return {"sent": None, "seen": "no"}
        # The tokens are those of all together: of several they prove none by itself.
        alike = [p for p in self._parts if type(_medium(p)) is type(medium)]
        is_seen = self.usage.by_modality.get(modality, 0) > 0 and len(alike) == 1
        return {"sent": plan.describe(part), "seen": "yes" if is_seen else "unknown"}

    def _seen(self, loc: Loc) -> dict[str, Any]:
        verdict = self._verdicts.get(loc)
        if verdict is None:
            return {"seen": "unknown", "evidence": None}
        return {"seen": verdict.seen, "evidence": verdict.says}


def _medium(part: Part) -> Media | None:
    return part.video if isinstance(part, LinkPart) else part.media


def _loc(part: Part) -> Loc:
    return part.loc if isinstance(part, LinkPart) else part.media.loc


def _tokens(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _shown_bill(bill: Bill) -> dict[str, Any]:
    usage = bill.usage or Usage()
    return {
        "provider": bill.provider,
        "model": bill.model,
        "upstream_id": bill.upstream_id,
        **_tokens(usage),
        "usd": None if usage.cost is None else f"{usage.cost:f}",
        "source": usage.cost_source,
        "price_source": bill.price_source,
    }


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
