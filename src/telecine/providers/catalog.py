"""What models take and what they cost, by who knows best: the operator, who sets it; the upstream's
own list; the seed in this package, of which every entry has its source and its day.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase, translate
from importlib import resources
from typing import Any

from telecine.models import Capabilities, Form, TokenRates, Usage
from telecine.providers import values

# Dollars are kept to the trillionth: no price per token is finer.
_FINEST = Decimal("1e-12")

# ---------------------------------------------------------------- prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What long prompts cost: prices that hold from `min_prompt_tokens` on. None: as below it."""

    min_prompt_tokens: int
    prompt: Decimal | None = None
    completion: Decimal | None = None
    cached: Decimal | None = None
    audio: Decimal | None = None
    image: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per token; `request` per call. `cached`, `audio` and `image` are prompt tokens
    with a price of their own; None: that of the others. `source` says where the figures come from,
    `dated` (ISO 8601) of what day they are.
    """

    prompt: Decimal
    completion: Decimal
    source: str
    dated: str = ""
    cached: Decimal | None = None
    audio: Decimal | None = None
    image: Decimal | None = None
    request: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()

    def cost(self, usage: Usage) -> Decimal:
        """What the tokens of one call come to."""
        price = self.at(usage.prompt_tokens)
        cost = price.request + usage.completion_tokens * price.completion
        plain = usage.prompt_tokens
        for count, per_token in (
            (usage.cached_tokens, price.cached),
            (usage.by_modality.get("audio"), price.audio),
            (usage.by_modality.get("image"), price.image),
        ):
            # They are part of the prompt tokens, and no cost is to fall for tokens counted twice.
            if count and per_token is not None:
                special = min(count, plain)
                cost += special * per_token
                plain -= special
        return (cost + plain * price.prompt).quantize(_FINEST).normalize()

    def at(self, prompt_tokens: int) -> Price:
        """The prices for a prompt of so many tokens; the tier counts for all of its tokens."""
        reached = [tier for tier in self.tiers if tier.min_prompt_tokens <= prompt_tokens]
        if not reached:
            return self
        tier = max(reached, key=lambda each: each.min_prompt_tokens)
        names = ("prompt", "completion", "cached", "audio", "image")
        given = {name: getattr(tier, name) for name in names}
        return replace(self, **{name: cost for name, cost in given.items() if cost is not None})


def per_token(per_million: Decimal) -> Decimal:
    return per_million / 10**6


FREE = Price(prompt=Decimal(0), completion=Decimal(0), source="free")


def price(pricing: Mapping[str, Any], *, source: str, dated: str = "") -> Price | None:
    """A `pricing` object of OpenRouter's model list; None where it says that it varies (-1)."""
    prompt, completion = _dollars(pricing.get("prompt")), _dollars(pricing.get("completion"))
    if prompt is None or completion is None:
        return None
    audio, image = _dollars(pricing.get("audio")), _dollars(pricing.get("image_token"))
    tiers = map(_tier, values.items(pricing.get("overrides")))
    return Price(
        prompt=prompt,
        completion=completion,
        source=source,
        dated=dated,
        cached=_dollars(pricing.get("input_cache_read")),
        # One that is the prompt's moves with it from tier to tier.
        audio=audio if audio != prompt else None,
        image=image if image != prompt else None,
        request=_dollars(pricing.get("request")) or Decimal(0),
        tiers=tuple(tier for tier in tiers if tier is not None),
    )


def _tier(override: Any) -> Tier | None:
    """One of the list's overrides; None for those that hold at certain hours only."""
    if not isinstance(override, Mapping) or override.keys() & {"utc_start", "utc_end"}:
        return None
    least = values.count(override.get("min_prompt_tokens"))
    if least is None:
        return None
    return Tier(
        min_prompt_tokens=least,
        prompt=_dollars(override.get("prompt")),
        completion=_dollars(override.get("completion")),
        cached=_dollars(override.get("input_cache_read")),
        audio=_dollars(override.get("audio")),
        image=_dollars(override.get("image_token")),
    )


def _dollars(text: Any) -> Decimal | None:
    if not isinstance(text, str):
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < 10**6 else None


# ---------------------------------------------------------------- what models take

_LIMITS = (
    *("max_videos", "max_seconds", "max_bytes", "max_request_bytes"),
    *("max_images", "max_image_bytes", "max_image_side"),
)
# OpenRouter's names of parameters, and ours. A schema is promised by `structured_outputs` alone.
_PARAMETERS = {
    "temperature": "temperature",
    "seed": "seed",
    "stop": "stop",
    "structured_outputs": "response_format",
    "reasoning": "effort",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the seed knows of `model` on a kind of `route`: `openrouter`, `gemini`, `anthropic`, or
    a dialect of OpenAI's protocol. `dated` (ISO 8601): the day of which it is."""

    model: str
    route: str
    capabilities: Capabilities
    price: Price | None
    source: str
    dated: str


def seeded(model: str, route: str | None = None) -> Card | None:
    """The seed's card of `model`, by the name that it has on its route."""
    for matches, entry in _patterns(route):
        if matches(model):
            return _card(model, entry)
    return None


@functools.cache
def _patterns(route: str | None) -> Sequence[tuple[Callable[[str], object], Mapping[str, Any]]]:
    """The entries of a route, or all: asked twice for each request, so they are made ready once."""
    return [
        (re.compile(translate(entry["id"])).match, entry)
        for entry in _seed()["models"]
        if route in (None, entry["route"])
    ]


def names(route: str) -> list[str]:
    """The models of a route that the seed has cards of."""
    ids = [entry["id"] for entry in _seed()["models"] if entry["route"] == route]
    return [name for name in ids if not {"*", "["} & {*name}]


def capabilities(entry: Mapping[str, Any]) -> Capabilities:
    """What an entry of OpenRouter's model list says that the model takes. What it does not speak
    of, the model may take; so with `{"id": ...}` alone everything."""
    top = values.mapping(entry.get("top_provider"))
    architecture = values.mapping(entry.get("architecture"))
    contexts = (values.count(entry.get("context_length")), values.count(top.get("context_length")))
    listed = values.words(entry.get("supported_parameters"))
    return _capabilities(
        str(entry.get("id")),
        "openrouter",
        takes=values.words(architecture.get("input_modalities")) or ("image", "video", "audio"),
        context_tokens=min(filter(None, contexts), default=None),
        max_output_tokens=values.count(top.get("max_completion_tokens")) or None,
        lacks={ours for theirs, ours in _PARAMETERS.items() if listed and theirs not in listed},
    )


def with_frames(capabilities: Capabilities, *, alone: bool = False) -> Capabilities:
    """Whatever sees pictures can be shown a video: as the last form to try, or as the only one."""
    if not capabilities.images or "decoded" in capabilities.delivery:
        return capabilities
    others = () if alone else capabilities.delivery
    return replace(capabilities, delivery=tuple(dict.fromkeys((*others, "frames"))))


def _card(model: str, entry: Mapping[str, Any]) -> Card:
    route, dated = entry["route"], entry["dated"].isoformat()
    source = _seed()["sources"][route]
    lacks = {("effort", "effort"), ("schema", "response_format")}
    return Card(
        model=model,
        route=route,
        capabilities=_capabilities(
            model,
            route,
            takes=entry["takes"],
            context_tokens=entry.get("context"),
            max_output_tokens=entry.get("max_output"),
            lacks={option for key, option in lacks if entry.get(key) is False},
        ),
        price=_seed_price(entry, source, dated),
        source=source,
        dated=dated,
    )


def _capabilities(
    model: str,
    route: str,
    *,
    takes: Collection[str],
    context_tokens: int | None,
    max_output_tokens: int | None,
    lacks: Collection[str],
) -> Capabilities:
    offered, family = _seed()["routes"][route], _family(model)
    sees_video = "video" in takes
    links: tuple[Form, ...] = ("link",) if family.get("link") else ()
    limits = {name: family.get(name, offered.get(name)) for name in _LIMITS}
    found = Capabilities(
        delivery=tuple(dict.fromkeys((*offered["video"], *links))) if sees_video else (),
        images=tuple(family.get("images", offered["images"])) if "image" in takes else (),
        audio=tuple(offered.get("audio", ())) if "audio" in takes else (),
        pdfs=offered.get("pdfs", False),
        web_search=offered.get("web_search", False),
        hears=sees_video and family.get("hears", False),
        options=frozenset(offered["options"]) - set(lacks),
        context_tokens=context_tokens,
        max_output_tokens=max_output_tokens,
        fps=family.get("fps", 1.0),
        rates=_rates(family),
        **limits,
    )
    return with_frames(found)


def _rates(family: Mapping[str, Any]) -> TokenRates | None:
    if "frame" not in family:
        return None
    return TokenRates(
        frame=family["frame"],
        audio_second=family.get("audio_second", 0.0),
        image=family["image"],
        image_pixels=family.get("image_pixels"),
    )


def _seed_price(entry: Mapping[str, Any], source: str, dated: str) -> Price | None:
    if "price" not in entry:
        return None
    return Price(
        **_per_token(entry["price"]),
        source=source,
        dated=dated,
        tiers=tuple(
            Tier(min_prompt_tokens=tier["above"] + 1, **_per_token(tier, without=("above",)))
            for tier in entry.get("tiers", ())
        ),
    )


def _per_token(dollars: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    given = {name: Decimal(text) for name, text in dollars.items() if name not in without}
    return {name: per_token(amount) for name, amount in given.items()}


def _family(model: str) -> Mapping[str, Any]:
    for family in _seed()["families"]:
        if any(fnmatchcase(model, pattern) for pattern in family["match"]):
            return values.mapping(family)
    return {}


@functools.cache
def _seed() -> dict[str, Any]:
    file = resources.files("telecine.providers").joinpath("seed.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


# ---------------------------------------------------------------- what the operator says


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What the operator knows better of one model of a provider. None: nothing.

    `video`: the forms in which it takes videos, instead of those that are known of it.
    """

    video: tuple[Form, ...] | None = None
    hears: bool | None = None
    max_videos: int | None = None
    max_seconds: float | None = None
    max_bytes: int | None = None
    max_request_bytes: int | None = None
    max_images: int | None = None
    context_tokens: int | None = None
    price: Price | None = None

    def of(self, capabilities: Capabilities) -> Capabilities:
        """`capabilities`, set right."""
        names = [each.name for each in fields(self) if each.name not in ("video", "price")]
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.video is not None:
            given["delivery"] = self.video
        if "frames" in (self.video or ()) and not capabilities.images:
            given["images"] = ("jpeg", "png")
        return replace(capabilities, **given)
