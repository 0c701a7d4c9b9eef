"""OpenRouter: hundreds of models behind one key, dozens of which see video."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self

from telecine.errors import InputError, ProviderError, ProviderRejected
from telecine.models import (
    IMAGE_FORMATS,
    Call,
    Capabilities,
    Conversation,
    FilePart,
    LinkPart,
    ProviderEvent,
)
from telecine.net import Client
from telecine.providers import catalog, chat
from telecine.providers.base import Health, Model
from telecine.providers.body import Base64
from telecine.providers.chat import Chat, Listing, messages, parameters

# OpenRouter asks which program is calling. The address tells nothing of the operator.
_HEADERS = {"X-OpenRouter-Title": "Telecine", "HTTP-Referer": "http://localhost"}
# Its own spelling; the registered name is video/quicktime.
_MIME = {"video/quicktime": "video/mov"}
_AUDIO = ("wav", "mp3", "aiff", "aac", "ogg", "flac", "m4a")
# What the web plugin takes; other options of a search go beside it.
_PLUGIN_OPTIONS = frozenset(
    {"engine", "max_results", "search_prompt", "include_domains", "exclude_domains"}
)


@dataclass(frozen=True, slots=True)
class _Listed:
    model: Model
    price: catalog.Price | None


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
        if self._models and model not in self._models:
            raise ProviderRejected(
                f"{model!r} is not among the models of [providers.{self.name}]: "
                + ", ".join(self._models),
                loc=("body", "model"),
                provider=self.name,
            )
        listed = await self._listed(model)
        takes = listed.model.input_modalities if listed else ()
        files: tuple[Literal["file", "link"], ...] = (
            ("file", "link") if _takes_links(model) else ("file",)
        )
        # What is not listed may take anything; OpenRouter reads documents itself, for any model.
        return Capabilities(
            delivery=files if not takes or "video" in takes else (),
            images=IMAGE_FORMATS if not takes or "image" in takes else (),
            audio=_AUDIO if not takes or "audio" in takes else (),
            pdfs=True,
            web_search=True,
        )

    async def price(self, model: str) -> catalog.Price | None:
        """What its list says; None when the list says nothing of it or cannot be had."""
        listed = await self._listed(model)
        return listed.price if listed else None

    def generate(self, call: Call) -> AsyncIterator[ProviderEvent]:
        document = {
            **parameters(call),
            "model": _full_name(call.model),
            "messages": messages(call, lambda part: _video(part, call.model)),
            # Whether the model thinks is its own default; this says whether it is told.
            "reasoning": {"enabled": True} if call.reasoning else {"exclude": True},
            **_routing(call),
            **_web_search(call.web_search),
        }
        return self._chat.ask(call, document)

    def converse(self, call: Call, talk: Conversation) -> AsyncIterator[ProviderEvent]:
        document = {
            **_routing(call),
            **chat.body(call, talk, lambda part: _video(part, call.model)),
            "model": _full_name(call.model),
        }
        return self._chat.pass_on(call, talk, document)

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
            answer = await self._chat.get("/key")
        except ProviderError as error:
            return _unwell(error)
        left = _mapping(_mapping(answer).get("data")).get("limit_remaining")
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
        # ":nitro" and ":floor" say how to route, and are not listed; ":free" is a model of its own.
        return known.get(name) or known.get(name.partition(":")[0])

    async def _fetch(self) -> dict[str, _Listed]:
        answer = await self._chat.get("/models")
        source = f"{self.name}, {self._today().isoformat()}"
        found = (_read(entry, source) for entry in _list(_mapping(answer).get("data")))
        return {listed.model.id: listed for listed in found if listed}


def _full_name(model: str) -> str:
    """OpenRouter's own models (`openrouter/auto`) lose its name when it is read as ours."""
    return model if "/" in model else f"openrouter/{model}"


def _routing(call: Call) -> dict[str, Any]:
    """The other hosts of models that take links take none, and say nothing about it."""
    if any(isinstance(part, LinkPart) for part in call.parts):
        return {"provider": {"only": ["google-ai-studio"]}}
    return {}


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


def _video(part: FilePart | LinkPart, model: str) -> Mapping[str, Any]:
    if isinstance(part, LinkPart):
        if not _takes_links(model):
            raise InputError(f"{model} takes no links, only video files", loc=part.loc)
        return {"type": "video_url", "video_url": {"url": part.url}}
    mime = _MIME.get(part.video.mime, part.video.mime)
    return {
        "type": "video_url",
        "video_url": {"url": Base64(part.video.path, f"data:{mime};base64,")},
    }


def _read(entry: Any, source: str) -> _Listed | None:
    """One entry of the list, as far as it makes sense."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str):
        return None
    price = catalog.price(_mapping(entry.get("pricing")), source=source)
    modalities = _list(_mapping(entry.get("architecture")).get("input_modalities"))
    context = entry.get("context_length")
    model = Model(
        id=entry["id"],
        name=_text(entry.get("name")),
        input_modalities=tuple(m for m in modalities if isinstance(m, str)),
        context_tokens=context if isinstance(context, int) else None,
        price_prompt=str(price.prompt) if price else None,
        price_completion=str(price.completion) if price else None,
        description=_text(entry.get("description")),
    )
    return _Listed(model, price)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _unwell(error: ProviderError) -> Health:
    if error.upstream_status in (401, 403):
        return Health(
            is_ok=False,
            says=f"the key was refused ({error.upstream_status})",
            fix="make a new key at OpenRouter and set OPENROUTER_API_KEY to it",
        )
    return Health(is_ok=False, says=error.message, fix="check the network, base_url and net.proxy")
