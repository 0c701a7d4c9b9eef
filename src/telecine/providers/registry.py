"""Which provider answers for a model's name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from telecine.errors import InputError, ProviderError
from telecine.models import Capabilities
from telecine.providers import catalog
from telecine.providers.base import Provider
from telecine.providers.openrouter import OpenRouter

_LOC = ("body", "model")


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


class Registry:
    """The configured providers by name (the prefix of routes), and the operator's aliases."""

    def __init__(self, providers: Mapping[str, Provider], aliases: Mapping[str, str]) -> None:
        self._providers = dict(providers)
        self._aliases = dict(aliases)

    @property
    def providers(self) -> Mapping[str, Provider]:
        return self._providers

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
        price = await provider.price(own_name) if isinstance(provider, OpenRouter) else None
        return Route(model, provider, own_name, await provider.capabilities(own_name), price)

    def _named(self, name: str) -> tuple[Provider, str] | None:
        prefix, _, rest = name.partition("/")
        provider = self._providers.get(prefix)
        if provider is None or not rest:
            return None
        if isinstance(provider, OpenRouter) and not provider.has_key:
            raise _problem(
                f"{prefix} is configured without a key: set OPENROUTER_API_KEY, or the variable "
                f"that api_key_env of [providers.{prefix}] names",
                name,
            )
        if isinstance(provider, OpenRouter) and "/" not in rest:
            return provider, f"openrouter/{rest}"  # one of the router's own, such as its auto
        return provider, rest

    async def _offering(self, name: str, asked: str) -> tuple[Provider, str]:
        for provider in self._providers.values():
            if isinstance(provider, OpenRouter) and (own_name := provider.own_name(name)):
                return provider, own_name
        providers = list(self._providers.values())
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
        return (
            f"{said}. Configured: {', '.join(sorted(self._providers)) or 'none'}. "
            + ("" if has_key else "Set OPENROUTER_API_KEY for OpenRouter's models, or put ")
            + ("Put " if has_key else "")
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
