"""What a provider is. It is done when tests/contract/providers passes on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeGuard, runtime_checkable

from telecine.errors import ProviderRejected
from telecine.models import Call, Capabilities, Conversation, ProviderEvent, Usage
from telecine.providers.catalog import Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as a list shows it. Prices are US dollars per token, as decimal strings, if known."""

    id: str
    name: str = ""
    input_modalities: tuple[str, ...] = ()
    context_tokens: int | None = None
    price_prompt: str | None = None
    price_completion: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What `telecine doctor` says of a provider. `fix` helps when it is not ok."""

    is_ok: bool
    says: str
    fix: str = ""
    details: dict[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """One upstream, or one embedded engine. Opened before the first call, closed after the last.

    Opening must be cheap: no connection, no weights, no process. Those start with the first call.
    """

    name: str

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def capabilities(self, model: str) -> Capabilities:
        """What `model` takes. Raises ProviderRejected when there is known to be no such model."""
        ...

    def generate(self, call: Call) -> AsyncIterator[ProviderEvent]:
        """The answer as it comes: Log, Delta, Upstream, Usage in any order; Usage once, at the end.

        An async generator. Closing it stops the upstream work. It raises only ProviderError and
        InputError (a part that this model cannot take). ProviderUnavailable and FormRefused may be
        raised only before the first Delta, and only when nothing can have been billed.
        """
        ...

    async def price(self, model: str) -> Price | None:
        """What `model` costs, for estimates, and for calls of which the upstream does not tell the
        cost; None: not known."""
        ...

    async def models(self) -> list[Model]:
        """What can be asked for, without the provider's name in front. Raises ProviderError."""
        ...

    async def check(self) -> Health:
        """Whether a call could succeed now; never raises, never bills, and takes 5 s at most."""
        ...


class Converses(Protocol):
    """What a provider may do besides: take a body of OpenAI's API, and answer in OpenAI's words.

    Those that do not are asked in plain words, and what they say is put into OpenAI's.
    """

    name: str

    def converse(self, call: Call, talk: Conversation) -> AsyncIterator[ProviderEvent]:
        """As `generate`, with a Chunk for each piece of the answer in place of Deltas.

        `call` has the model and the media; everything else of the body goes on as it is. The
        answer comes in pieces or at once as `talk.is_streamed` says. ProviderRejected where this
        provider does not have that part of the API.
        """
        ...


@runtime_checkable
class Settles(Protocol):
    """What a provider may do besides: tell later what a call came to, also one that was cut off."""

    async def settle(self, upstream_id: str) -> Usage | None:
        """With a "billed" cost; None: it cannot tell yet, or never will. Raises ProviderError."""
        ...


def converses(provider: object) -> TypeGuard[Converses]:
    return hasattr(provider, "converse")


def check_offered(provider: str, models: Collection[str], model: str) -> None:
    """Raises ProviderRejected where the operator offers some models only, and not `model`."""
    if models and model not in models:
        raise ProviderRejected(
            f"{model!r} is not among the models of [providers.{provider}]: {', '.join(models)}",
            loc=("body", "model"),
            provider=provider,
        )
