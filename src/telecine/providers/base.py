"""What a provider is. It is done when tests/contract/providers passes on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from telecine.models import Call, Capabilities, ProviderEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as a list shows it. Prices are US dollars per token, as decimal strings; None: unknown."""

    id: str
    name: str = ""
    input_modalities: tuple[str, ...] = ()
    context_tokens: int | None = None
    price_prompt: str | None = None
    price_completion: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What `telecine doctor` says of a provider. `fix` is the sentence that helps when it is not ok."""

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
        """What `model` takes. Raises ProviderRejected when this provider knows there is no such model."""
        ...

    def generate(self, call: Call) -> AsyncIterator[ProviderEvent]:
        """The answer as it comes: Log, Delta, Upstream, Usage in any order; Usage once, near the end.

        An async generator. Closing it stops the upstream work. It raises only ProviderError and
        InputError (a part that this model cannot take). ProviderUnavailable may be raised only
        before the first Delta, and only when nothing can have been billed.
        """
        ...

    async def models(self) -> list[Model]:
        """What can be asked for, without the provider's name in front. ProviderError if unreachable."""
        ...

    async def check(self) -> Health:
        """Whether a call could succeed now; never raises, never bills, and takes 5 s at most."""
        ...
