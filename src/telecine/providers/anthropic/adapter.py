"""The adapter for Anthropic."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from telecine.errors import ProviderError, ProviderFailed, TelecineError
from telecine.models import IMAGE_FORMATS, Call, Capabilities, Log, ProviderEvent, TokenRates
from telecine.net import Client
from telecine.providers import catalog
from telecine.providers.anthropic.answer import Answer
from telecine.providers.anthropic.request import Thinking, question
from telecine.providers.base import Health, Model, check_offered
from telecine.providers.exchange import Asked, Exchange, Listing
from telecine.providers.failures import Failure
from telecine.providers.values import count, items, mapping, text, word

_VERSION = "2023-06-01"
_PAGE, _MAX_PAGES = 100, 20
# Models of more than the smaller context take more images in a request.
_SMALL_CONTEXT, _IMAGES, _IMAGES_OF_LARGE = 200_000, 100, 600
# The seed leaves out the day of a release.
_DAY = re.compile(r"-20\d{6}$")
_FIELD = re.compile(r"([a-z_]+)(?:[.:]|$)")
# What the API takes of a model that nothing else is known of.
_ANY = Capabilities(
    delivery=("frames",),
    images=IMAGE_FORMATS,
    pdfs=True,
    options=frozenset({"temperature", "stop", "effort"}),
    max_request_bytes=32_000_000,
    max_images=_IMAGES,
    max_image_bytes=5_000_000,
    max_image_side=8000,
    context_tokens=_SMALL_CONTEXT,
    rates=TokenRates(frame={"low": 262, "medium": 590, "high": 1568}, image=1568, image_pixels=750),
)


@dataclass(frozen=True, slots=True)
class _Listed:
    """`None`: the list does not say."""

    model: Model
    max_output_tokens: int | None
    sees: bool | None
    reads: bool | None
    has_budget: bool | None


class _Messages(Exchange):
    """Its errors begin with the field that they are about, and every answer has an id."""

    id_header = "request-id"

    def _error(
        self, failure: Failure, call: Call, *, upstream_id: str | None, has_begun: bool = False
    ) -> TelecineError:
        if (found := _FIELD.match(failure.message)) is not None:
            failure = replace(failure, param=_OURS.get(found[1], found[1]))
        return super()._error(failure, call, upstream_id=upstream_id, has_begun=has_begun)


_OURS = {"stop_sequences": "stop", "system": "system_prompt", "thinking": "reasoning"}


class Anthropic:
    """The adapter. Without a key it can do nothing. `models`: the only ones to be offered."""

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str | None,
        models: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        key = (api_key or "").strip()
        self.has_key = bool(key)
        self._models = tuple(models or ())
        self._messages = _Messages(
            name,
            client=client,
            base_url=base_url,
            headers={"x-api-key": key, "anthropic-version": _VERSION},
            key=key,
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

    async def capabilities(self, model: str) -> Capabilities:
        check_offered(self.name, self._models, model)
        card = catalog.seeded(_DAY.sub("", model), "anthropic")
        known = card.capabilities if card else _ANY
        listed = await self._listed(model)
        if listed is None:
            return _with_images(known)
        return _with_images(
            replace(
                known,
                delivery=() if listed.sees is False else known.delivery,
                images=() if listed.sees is False else known.images,
                pdfs=known.pdfs if listed.reads is None else listed.reads,
                context_tokens=listed.model.context_tokens or known.context_tokens,
                max_output_tokens=listed.max_output_tokens or known.max_output_tokens,
            )
        )

    async def price(self, model: str) -> catalog.Price | None:
        """What the seed says: Anthropic's list tells no prices."""
        card = catalog.seeded(_DAY.sub("", model), "anthropic")
        return card.price if card else None

    async def generate(self, call: Call) -> AsyncGenerator[ProviderEvent, None]:
        if not self.has_key:
            raise ProviderFailed(f"{self.name} has no key: {self._fix}", provider=self.name)
        listed = await self._listed(call.model)
        asked = question(
            call,
            most_tokens=(await self.capabilities(call.model)).max_output_tokens,
            thinking=Thinking(has_budget=listed is None or listed.has_budget is not False),
        )
        for warning in asked.warnings:
            yield Log(warning, "WARN")
        answer = Answer(wants_reasoning=call.reasoning)
        messages = Asked("/v1/messages", asked.document)
        async with aclosing(self._messages.tell(call, messages, answer)) as events:
            async for event in events:
                yield event

    async def models(self) -> list[Model]:
        if not self._models:
            return [listed.model for listed in (await self._listing.get()).values()]
        known = await self._listing.get_or_last() or {}
        return [known[name].model if name in known else Model(id=name) for name in self._models]

    async def check(self) -> Health:
        if not self.has_key:
            return Health(is_ok=False, says="no key", fix=self._fix)
        try:
            await self._messages.get("/v1/models?limit=1")
        except ProviderError as error:
            return self._unwell(error)
        return Health(is_ok=True, says="the key is good")

    @property
    def _fix(self) -> str:
        return (
            "set ANTHROPIC_API_KEY, or the variable that "
            f"api_key_env of [providers.{self.name}] names"
        )

    def _unwell(self, error: ProviderError) -> Health:
        if error.upstream_status in (401, 403):
            return Health(
                is_ok=False,
                says=f"the key was refused ({error.upstream_status})",
                fix="make a new key at Anthropic and set ANTHROPIC_API_KEY to it",
            )
        return Health(
            is_ok=False, says=error.message, fix="check the network, base_url and net.proxy"
        )

    async def _listed(self, model: str) -> _Listed | None:
        if not self.has_key:
            return None
        return (await self._listing.get_or_last() or {}).get(model)

    async def _fetch(self) -> dict[str, _Listed]:
        found: dict[str, _Listed] = {}
        after = ""
        for _ in range(_MAX_PAGES):
            page = mapping(await self._messages.get(f"/v1/models?limit={_PAGE}{after}"))
            for entry in map(mapping, items(page.get("data"))):
                if listed := _read(entry):
                    found[listed.model.id] = listed
            last = word(page.get("last_id"))
            if page.get("has_more") is not True or not last:
                break
            after = f"&after_id={quote(last, safe='')}"
        return found


def _with_images(known: Capabilities) -> Capabilities:
    is_large = (known.context_tokens or 0) > _SMALL_CONTEXT
    return replace(known, max_images=_IMAGES_OF_LARGE if is_large else _IMAGES)


def _read(entry: Any) -> _Listed | None:
    """One entry of the list, as far as it makes sense."""
    if (name := word(entry.get("id"))) is None or entry.get("lifecycle") == "retired":
        return None
    can = mapping(entry.get("capabilities"))
    sees = _supported(can.get("image_input"))
    types = mapping(mapping(can.get("thinking")).get("types"))
    model = Model(
        id=name,
        name=text(entry.get("display_name")),
        input_modalities=("text",) if sees is False else ("text", "image"),
        context_tokens=count(entry.get("max_input_tokens")),
    )
    return _Listed(
        model,
        max_output_tokens=count(entry.get("max_tokens")),
        sees=sees,
        reads=_supported(can.get("pdf_input")),
        has_budget=_supported(types.get("enabled")),
    )


def _supported(capability: Any) -> bool | None:
    said = mapping(capability).get("supported")
    return said if isinstance(said, bool) else None
