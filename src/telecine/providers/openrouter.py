"""OpenRouter: hundreds of models behind one key, dozens of which see video."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from telecine.errors import InputError, ProviderError
from telecine.models import (
    Call,
    Capabilities,
    Conversation,
    FramesPart,
    LinkPart,
    ProviderEvent,
    Usage,
)
from telecine.net import Client
from telecine.providers import answer, catalog, chat, frames
from telecine.providers.base import Health, Model, check_offered
from telecine.providers.body import Base64
from telecine.providers.chat import Chat, VideoPart, messages, parameters
from telecine.providers.exchange import Listing
from telecine.providers.values import count, items, mapping, text, words

# OpenRouter asks which program is calling. The address tells nothing of the operator.
_HEADERS = {"X-OpenRouter-Title": "Telecine", "HTTP-Referer": "http://localhost"}
# Its own spelling; the registered name is video/quicktime.
_MIME = {"video/quicktime": "video/mov"}
# The host that takes YouTube links; the others drop them, and say nothing about it.
_LINK_HOST = "google-ai-studio"
# Hosts that do not know one of these leave it out, and say nothing about that either, unless they
# are told not to. Each with the names under which the list says that the model knows it.
_PROMISED: Mapping[str, tuple[str, ...]] = {
    "response_format": ("response_format", "structured_outputs"),
    "seed": ("seed",),
    "stop": ("stop",),
    "reasoning": ("reasoning", "reasoning_effort"),
}
# What the web plugin takes; other options of a search go beside it.
_PLUGIN_OPTIONS = frozenset(
    {"engine", "max_results", "search_prompt", "include_domains", "exclude_domains"}
)


@dataclass(frozen=True, slots=True)
class _Listed:
    model: Model
    price: catalog.Price | None
    capabilities: Capabilities
    parameters: tuple[str, ...]


class OpenRouter:
    """The adapter. Without a key it can only list models. `models`: the only ones to be offered."""

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str | None,
        models: Sequence[str] | None = None,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self.name = name
        self.has_key = bool(api_key and api_key.strip())
        self._models = tuple(models or ())
        self._today = today
        self._chat = Chat(
            name,
            client=client,
            base_url=base_url,
            api_key=(api_key or "").strip(),
            headers=_HEADERS,
            reads_cost=True,
        )
        self._listing = Listing(self._fetch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def own_name(self, model: str) -> str | None:
        """It takes any name that it may offer: whether there is such a model, it says itself."""
        return model if self.has_key and (not self._models or model in self._models) else None

    async def capabilities(self, model: str) -> Capabilities:
        check_offered(self.name, self._models, model)
        listed = await self._listed(model)
        if listed is not None:
            return listed.capabilities
        if (card := _seeded(model)) is not None:
            return card.capabilities
        return catalog.capabilities({"id": _full_name(model)})

    async def price(self, model: str) -> catalog.Price | None:
        """What its list says, or said when this version was made."""
        if (listed := await self._listed(model)) is not None:
            return listed.price
        card = _seeded(model)
        return card.price if card else None

    async def generate(self, call: Call) -> AsyncGenerator[ProviderEvent, None]:
        listed = await self._listed(call.model)
        document = {
            **parameters(call),
            "model": _full_name(call.model),
            "messages": messages(call, lambda part: _video(part, call)),
            "reasoning": _reasoning(call),
            **_web_search(call.web_search),
        }
        known = listed.parameters if listed else ()
        document |= _routing(call, call.provider, must_know=_is_promised(call, known))
        async with aclosing(self._chat.ask(call, document)) as events:
            async for event in events:
                yield event

    def converse(self, call: Call, talk: Conversation) -> AsyncIterator[ProviderEvent]:
        document = {
            **chat.body(call, talk, lambda part: _video(part, call)),
            "model": _full_name(call.model),
        }
        document |= _routing(call, document.get("provider"), must_know=False)
        return self._chat.pass_on(call, talk, document)

    async def settle(self, upstream_id: str) -> Usage | None:
        """What a call came to, also one that was cut off: Google and others go on, and bill."""
        try:
            told = await self._chat.get(f"/generation?id={quote(upstream_id, safe='')}")
        except ProviderError as error:
            if error.upstream_status == 404:
                return None  # the figures come some seconds after the answer
            raise
        return _settled(mapping(mapping(told).get("data")))

    async def models(self) -> list[Model]:
        if not self._models:
            return [listed.model for listed in (await self._listing.get()).values()]
        known = await self._listing.get_or_last() or {}
        return [known[name].model if name in known else Model(id=name) for name in self._models]

    async def check(self) -> Health:
        if not self.has_key:
            return Health(
                is_ok=False,
                says="no key",
                fix="set OPENROUTER_API_KEY, or the variable that "
                f"api_key_env of [providers.{self.name}] names",
            )
        try:
            told = await self._chat.get("/key")
        except ProviderError as error:
            return _unwell(error, self._chat.base_url)
        left = mapping(mapping(told).get("data")).get("limit_remaining")
        if not isinstance(left, int | Decimal):
            return Health(is_ok=True, says="the key is good")
        if left <= 0:
            return Health(
                is_ok=False,
                says="the key has reached its spending limit",
                fix="raise the key's limit, or buy credits, at OpenRouter",
            )
        return Health(is_ok=True, says=f"the key is good, with {left:.2f} USD left")

    async def _listed(self, model: str) -> _Listed | None:
        known = await self._listing.get_or_last() or {}
        name = _full_name(model)
        return known.get(name) or known.get(_base_name(model))

    async def _fetch(self) -> dict[str, _Listed]:
        told = await self._chat.get("/models")
        today = self._today().isoformat()
        source = f"{self.name}, {today}"
        found = (_read(entry, source, today) for entry in items(mapping(told).get("data")))
        return {listed.model.id: listed for listed in found if listed}


# How to choose among its hosts, behind a name; whatever else is there is a model of its own.
_ROUTINGS = ("nitro", "floor", "exacto")


def without_routing(model: str) -> str:
    """The model that `model` is a way to reach: the same, with the same limits."""
    name, _, end = model.rpartition(":")
    return name if name and end in _ROUTINGS else model


def _full_name(model: str) -> str:
    """OpenRouter's own models (`openrouter/auto`) lose its name when it is read as ours."""
    return model if "/" in model else f"openrouter/{model}"


def _seeded(model: str) -> catalog.Card | None:
    names = (_full_name(model), _base_name(model))
    return next((card for name in names if (card := catalog.seeded(name, "openrouter"))), None)


def _base_name(model: str) -> str:
    """Without how to route: ":nitro" and ":floor" are not listed; ":free" is a model of its own."""
    return _full_name(model).partition(":")[0]


def _reasoning(call: Call) -> dict[str, Any]:
    """Whether the model thinks is its own default, unless an effort is asked for; besides, whether
    it is told."""
    if call.effort is not None:
        return {"effort": call.effort, **({} if call.reasoning else {"exclude": True})}
    return {"enabled": True} if call.reasoning else {"exclude": True}


def _is_promised(call: Call, known: Collection[str]) -> bool:
    """Whether something is asked for that some hosts of the model know, and others would drop."""
    asked = {
        "response_format": call.response_format,
        "seed": call.seed,
        "stop": call.stop or None,
        "reasoning": call.effort,
    }
    return any(
        value is not None and not known_as.isdisjoint(known)
        for value, known_as in ((asked[name], {*names}) for name, names in _PROMISED.items())
    )


def _routing(call: Call, given: Any, *, must_know: bool) -> dict[str, Any]:
    """The caller's own routing, and what has to be said to have nothing dropped on the way."""
    routing = dict(mapping(given))
    if must_know:
        routing.setdefault("require_parameters", True)
    links = [p for p in call.parts if isinstance(p, LinkPart) and p.video is None]
    if links:
        _refuse_without_links(routing, links[0])
        routing["only"] = [_LINK_HOST]
    return {"provider": routing} if routing else {}


def _refuse_without_links(routing: Mapping[str, Any], link: LinkPart) -> None:
    """Raises InputError when the caller rules out the only host that takes links."""
    only, ignored = words(routing.get("only")), words(routing.get("ignore"))
    if (only and not any(map(_is_link_host, only))) or any(map(_is_link_host, ignored)):
        raise InputError(
            f"Only the host {_LINK_HOST} takes YouTube links, and `provider` rules it out: add it "
            "to `only`, take it out of `ignore`, or send the video as a file",
            loc=("body", "provider"),
            ctx={"host": _LINK_HOST, "link": list(link.loc)},
        )


def _is_link_host(slug: str) -> bool:
    return slug.lower().partition("/")[0] == _LINK_HOST


def _settled(data: Mapping[str, Any]) -> Usage | None:
    """A generation's record as a usage object has it; None while it has no cost."""
    native, usual = data.get("native_tokens_prompt"), data.get("tokens_prompt")
    prompt = usual if native is None else native
    native, usual = data.get("native_tokens_completion"), data.get("tokens_completion")
    completion = usual if native is None else native
    found = answer.usage(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": {"cached_tokens": data.get("native_tokens_cached")},
            "completion_tokens_details": {"reasoning_tokens": data.get("native_tokens_reasoning")},
            "cost": data.get("total_cost"),
            "is_byok": data.get("is_byok"),
            "cost_details": {"upstream_inference_cost": data.get("upstream_inference_cost")},
        },
        reads_cost=True,
    )
    return found if found.cost is not None else None


def _web_search(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if options is None:
        return {}
    plugin = {name: value for name, value in options.items() if name in _PLUGIN_OPTIONS}
    others = {name: value for name, value in options.items() if name not in _PLUGIN_OPTIONS}
    return {
        "plugins": [{"id": "web", **plugin}],
        **({"web_search_options": others} if others else {}),
    }


def _takes_links(model: str) -> bool:
    """YouTube links: Gemini alone."""
    return model.lstrip("~").startswith("google/gemini-")


def _video(part: VideoPart, call: Call) -> list[dict[str, Any]]:
    match part:
        case FramesPart():
            return frames.parts(part, call, says_detail=True)
        case LinkPart(url=url, video=None) if not _takes_links(call.model):
            raise InputError(f"{call.model} takes no links, only video files", loc=part.loc)
        case LinkPart(url=url):
            return [{"type": "video_url", "video_url": {"url": url}}]
    mime = _MIME.get(part.mime, part.mime)
    url_ = Base64(part.path, f"data:{mime};base64,")
    return [{"type": "video_url", "video_url": {"url": url_}}]


def _read(entry: Any, source: str, today: str) -> _Listed | None:
    """One entry of the list, as far as it makes sense."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str):
        return None
    price = catalog.price(mapping(entry.get("pricing")), source=source, dated=today)
    model = Model(
        id=entry["id"],
        name=text(entry.get("name")),
        input_modalities=words(mapping(entry.get("architecture")).get("input_modalities")),
        context_tokens=count(entry.get("context_length")),
        price_prompt=str(price.prompt) if price else None,
        price_completion=str(price.completion) if price else None,
        description=text(entry.get("description")),
    )
    listed = words(entry.get("supported_parameters"))
    return _Listed(model, price, catalog.capabilities(entry), listed)


def _unwell(error: ProviderError, base_url: str) -> Health:
    if error.upstream_status in (401, 403):
        return Health(
            is_ok=False,
            says=f"the key was refused ({error.upstream_status})",
            fix="make a new key at OpenRouter and set OPENROUTER_API_KEY to it",
        )
    return Health(
        is_ok=False,
        says=f"{error.message} ({base_url})",
        fix="check the network, base_url and net.proxy",
    )
