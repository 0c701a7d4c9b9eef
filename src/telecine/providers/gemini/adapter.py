"""Gemini, Google's own API: video as file or link, with sound, up to hours of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from telecine.errors import ProviderError, ProviderFailed
from telecine.models import Call, Capabilities, Log, ProviderEvent, Upstream
from telecine.net import Client
from telecine.providers import catalog
from telecine.providers.base import Health, Model, check_offered
from telecine.providers.exchange import Listing
from telecine.providers.gemini import request
from telecine.providers.gemini.answer import Answer
from telecine.providers.gemini.files import Files, Held
from telecine.providers.gemini.generations import Generation, generation
from telecine.providers.gemini.google import FileRefused, Google
from telecine.providers.values import count, items, mapping, text, word

_MAX_PAGES = 20
_EARLY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Listed:
    model: Model
    max_output_tokens: int | None


class Gemini:
    """The adapter. `models`: the only ones to be offered; None: those that Google lists.

    `clock` tells the time of day by which files grow old; it and `sleep` are for tests.
    """

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str | None,
        models: Sequence[str] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        key = (api_key or "").strip()
        self.has_key = bool(key)
        self._models = tuple(models or ())
        self._google = Google(name, client=client, base_url=base_url, api_key=key, sleep=sleep)
        self._files = Files(name, self._google, clock=clock, sleep=sleep)
        self._sleep = sleep
        self._listing = Listing(self._fetch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._files.close()

    def own_name(self, model: str) -> str | None:
        """`google/gemini-2.5-flash` and `gemini-2.5-flash` are both its own."""
        own = model.removeprefix("google/")
        if not self.has_key or not own.startswith("gemini-"):
            return None
        return own if not self._models or own in self._models else None

    async def capabilities(self, model: str) -> Capabilities:
        check_offered(self.name, self._models, model)
        listed = (await self._listing.get_or_last() or {}).get(model)
        if listed:
            context, output = listed.model.context_tokens, listed.max_output_tokens
        elif card := catalog.seeded(model, "gemini"):
            seeded = card.capabilities
            context, output = seeded.context_tokens, seeded.max_output_tokens
        else:
            context = output = None
        return catalog.with_frames(generation(model).capabilities(context, output))

    async def price(self, model: str) -> catalog.Price | None:
        """What the seed says: Google tells no prices."""
        card = catalog.seeded(model, "gemini")
        return card.price if card else None

    async def generate(self, call: Call) -> AsyncGenerator[ProviderEvent, None]:
        if not self.has_key:
            raise ProviderFailed(f"{self.name} has no key: {self._fix}", provider=self.name)
        kind = generation(call.model)
        request.check(call, kind)
        for warning in request.warnings(call, kind):
            yield Log(warning, "WARN")
        async with self._files.held(request.uploads(call)) as held:
            try:
                async with aclosing(self._attempt(call, kind, held)) as events:
                    async for event in events:
                        yield event
                return
            except FileRefused as refused:
                if not held.uris:
                    raise
                yield Log(f"{refused.message}: once more", "WARN")
                if refused.is_early:
                    await self._sleep(_EARLY_SECONDS)
                else:
                    held.distrust(refused.message)
            async with aclosing(self._attempt(call, kind, held)) as events:
                async for event in events:
                    yield event

    async def _attempt(
        self, call: Call, kind: Generation, held: Held
    ) -> AsyncGenerator[ProviderEvent, None]:
        async with aclosing(held.bring()) as news:
            async for said in news:
                yield Log(said)
        answer = Answer(wants_reasoning=call.reasoning)
        document = request.document(call, kind, held.uris)
        async with aclosing(self._google.ask(call, document, answer)) as events:
            async for event in events:
                yield event
                if isinstance(event, Upstream) and event.finish_reason and answer.odd_ending:
                    says = f"{call.model} ended for a reason of its own: {answer.odd_ending}"
                    yield Log(says, "WARN")

    async def models(self) -> list[Model]:
        if not self._models:
            return [listed.model for listed in (await self._listing.get()).values()]
        known = await self._listing.get_or_last() or {}
        return [known[name].model if name in known else Model(id=name) for name in self._models]

    async def check(self) -> Health:
        if not self.has_key:
            return Health(is_ok=False, says="no key", fix=self._fix)
        try:
            await self._google.models("")
        except ProviderError as error:
            return self._unwell(error)
        return Health(is_ok=True, says="the key is good")

    @property
    def _fix(self) -> str:
        return (
            f"set GEMINI_API_KEY, or the variable that api_key_env of [providers.{self.name}] names"
        )

    def _unwell(self, error: ProviderError) -> Health:
        if error.upstream_status in (400, 401, 403):
            return Health(
                is_ok=False,
                says=f"the key was refused ({error.upstream_status})",
                fix="make a new key at Google AI Studio and set GEMINI_API_KEY to it",
            )
        return Health(
            is_ok=False, says=error.message, fix="check the network, base_url and net.proxy"
        )

    async def _fetch(self) -> dict[str, _Listed]:
        """All that answer questions; the others embed, draw or speak."""
        found: dict[str, _Listed] = {}
        page = ""
        for _ in range(_MAX_PAGES):
            answer = mapping(await self._google.models(page))
            for entry in map(mapping, items(answer.get("models"))):
                if listed := _read(entry):
                    found[listed.model.id] = listed
            page = text(answer.get("nextPageToken"))
            if not page:
                break
        return found


def _read(entry: Mapping[str, Any]) -> _Listed | None:
    name = (word(entry.get("name")) or "").removeprefix("models/")
    if not name or "generateContent" not in items(entry.get("supportedGenerationMethods")):
        return None
    takes = generation(name).capabilities(None, None)
    modalities = ["text", *(["image"] if takes.images else [])]
    modalities += ["audio"] if takes.audio else []
    modalities += ["video"] if takes.delivery else []
    model = Model(
        id=name,
        name=word(entry.get("displayName")) or "",
        input_modalities=tuple(modalities),
        context_tokens=count(entry.get("inputTokenLimit")),
        description=word(entry.get("description")) or "",
    )
    return _Listed(model, count(entry.get("outputTokenLimit")))
