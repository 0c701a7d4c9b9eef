"""Which provider answers for a model's name, and what each offers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from telecine.errors import InputError, ProviderError, ProviderRejected
from telecine.models import Capabilities
from telecine.providers import catalog
from telecine.providers.base import Model, Provider
from telecine.providers.openrouter import OpenRouter, without_routing

_LOC = ("body", "model")
_LIST_SECONDS = 10.0


@runtime_checkable
class Renames(Protocol):
    """What a provider may do besides: know under which name of its own it serves one of the world's
    (`google/gemini-2.5-flash`, its `gemini-2.5-flash`), without asking anybody."""

    def own_name(self, model: str) -> str | None:
        """None: not from here."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. `asked` is the caller's word for the model, `model` the provider's."""

    asked: str
    provider: Provider
    model: str
    capabilities: Capabilities
    price: catalog.Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a model must be to be listed. `max_price`: US dollars per million prompt tokens;
    `search`: words that its name or description has, all of them."""

    video: bool = False
    audio: bool = False
    images: bool = False
    max_price: Decimal | None = None
    search: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as a list shows it. `capabilities` is None where its provider has no use for it now,
    an embedded model without its weights say."""

    provider: str
    model: Model
    capabilities: Capabilities | None
    price: catalog.Price | None

    @property
    def name(self) -> str:
        """What to ask for."""
        return f"{self.provider}/{self.model.id}"

    @property
    def hears_videos(self) -> bool:
        """The sound of a video reaches it."""
        takes = self.capabilities
        return takes is not None and (takes.hears or (takes.is_decoded and bool(takes.audio)))

    def meets(self, wanted: Wanted) -> bool:
        """A price that nobody knows is above any."""
        takes = self.capabilities or Capabilities(delivery=())
        prompt = self.price.prompt * 10**6 if self.price else None
        text = f"{self.name} {self.model.name} {self.model.description}".casefold()
        return (
            (not wanted.video or bool(takes.delivery))
            and (not wanted.audio or bool(takes.audio) or self.hears_videos)
            and (not wanted.images or bool(takes.images))
            and (wanted.max_price is None or (prompt is not None and prompt <= wanted.max_price))
            and all(word in text for word in wanted.search.casefold().split())
        )


@dataclass(frozen=True, slots=True)
class Offers:
    """What one provider offers. `problem`: why it does not say so itself; the offers are then those
    that this version knows of."""

    offers: tuple[Offer, ...]
    problem: str | None = None


class Registry:
    """The configured providers by name (the prefix of routes), and what the operator says of them.

    `overrides`: what is better known of a model, by `PROVIDER/MODEL`. `frames`: the providers to
    which videos go as frames alone. `keyless`: those that lack a key, with the variable to set.
    `routes`: the name of each in the catalog's seed.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        aliases: Mapping[str, str],
        *,
        overrides: Mapping[str, catalog.Override] | None = None,
        frames: Collection[str] = (),
        keyless: Mapping[str, str] | None = None,
        routes: Mapping[str, str] | None = None,
    ) -> None:
        self._providers = dict(providers)
        self._aliases = dict(aliases)
        self._overrides = dict(overrides or {})
        self._frames = frozenset(frames)
        self._keyless = dict(keyless or {})
        self._routes = dict(routes or {})

    @property
    def providers(self) -> Mapping[str, Provider]:
        return self._providers

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._aliases

    async def resolve(self, model: str) -> Route:
        """The first that has it: an alias, a provider named in front, the alias `"*"`, OpenRouter
        if it has a key, any provider that lists the name. What an alias points to is not looked
        up among the aliases again.

        Raises InputError when none has it, ProviderRejected when the one that should has it not.
        """
        name = self._aliases.get(model, model)
        found = self._named(name)
        if found is None and name == model and "*" in self._aliases:
            name = self._aliases["*"]
            found = self._named(name)
        provider, own_name = found or await self._offering(name, model)
        capabilities, price = await self._known(provider, own_name)
        return Route(model, provider, own_name, capabilities, price)

    async def offers(self) -> dict[str, Offers]:
        """What each provider offers."""
        found = await asyncio.gather(*map(self._offers, self._providers.values()))
        return dict(zip(self._providers, found, strict=True))

    async def _offers(self, provider: Provider) -> Offers:
        problem: str | None = None
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                models = await provider.models()
        except TimeoutError:
            problem = f"no answer within {_LIST_SECONDS:.0f} seconds"
        except ProviderError as error:
            problem = error.message
        if problem is not None:
            route = self._routes.get(provider.name, "")
            models = [Model(id=name) for name in catalog.names(route)]
        return Offers(tuple([await self._offer(provider, each) for each in models]), problem)

    async def _offer(self, provider: Provider, model: Model) -> Offer:
        try:
            return Offer(provider.name, model, *await self._known(provider, model.id))
        except ProviderRejected:
            return Offer(provider.name, model, None, None)

    async def _known(
        self, provider: Provider, model: str
    ) -> tuple[Capabilities, catalog.Price | None]:
        """What it takes and costs: the operator's word, else what the provider knows."""
        capabilities = catalog.with_frames(
            await provider.capabilities(model), alone=provider.name in self._frames
        )
        price = await provider.price(model)
        override = self._override(provider, model)
        if override is None:
            return capabilities, price
        return override.of(capabilities), override.price or price

    def _override(self, provider: Provider, model: str) -> catalog.Override | None:
        """By the name that it is asked by; OpenRouter's own (`openrouter/auto`) have one more."""
        names = [model]
        if isinstance(provider, OpenRouter):
            names += [without_routing(model), model.removeprefix("openrouter/")]
        keys = [f"{provider.name}/{name}" for name in names]
        return next((self._overrides[key] for key in keys if key in self._overrides), None)

    def _named(self, name: str) -> tuple[Provider, str] | None:
        prefix, _, rest = name.partition("/")
        provider = self._providers.get(prefix)
        if provider is None or not rest:
            return None
        if prefix in self._keyless:
            raise _problem(
                f"{prefix} is configured without a key: set {self._keyless[prefix]}, or the "
                f"variable that api_key_env of [providers.{prefix}] names",
                name,
            )
        if isinstance(provider, OpenRouter) and "/" not in rest:
            return provider, f"openrouter/{rest}"  # one of the router's own, such as its auto
        return provider, rest

    async def _offering(self, name: str, asked: str) -> tuple[Provider, str]:
        for provider in self._providers.values():
            if isinstance(provider, OpenRouter) and (own_name := provider.own_name(name)):
                return provider, own_name
        providers = [each for name, each in self._providers.items() if name not in self._keyless]
        found = await asyncio.gather(*(_lookup(provider, name) for provider in providers))
        for provider, own_name in zip(providers, found, strict=True):
            if own_name:
                return provider, own_name
        raise _problem(self._none(name, asked), asked)

    def _none(self, name: str, asked: str) -> str:
        has_key = any(isinstance(p, OpenRouter) and p.has_key for p in self._providers.values())
        said = f"no provider has the model {name!r}"
        if name != asked:
            said += f", which the alias {asked if asked in self._aliases else '*'!r} points to"
        keys = [] if has_key else ["OPENROUTER_API_KEY for OpenRouter's models"]
        if name.startswith("google/gemini-"):
            keys.append("GEMINI_API_KEY for Google's own API")
        return (
            f"{said}. Configured: {', '.join(sorted(self._providers)) or 'none'}. "
            + (f"Set {', or '.join(keys)}, or put " if keys else "Put ")
            + "a provider's name in front of its model (such as local/report), "
            f"or an alias for {asked!r} under [models.aliases]"
        )


async def _lookup(provider: Provider, name: str) -> str | None:
    """The provider's own name for the model; None also when it cannot be asked now."""
    if isinstance(provider, Renames) and (own_name := provider.own_name(name)):
        return own_name
    if isinstance(provider, OpenRouter):
        return None
    try:
        models = await provider.models()
    except ProviderError:
        return None
    return name if any(model.id == name for model in models) else None


def _problem(message: str, model: str) -> InputError:
    return InputError(message, loc=_LOC, type="value_error", input=model)
