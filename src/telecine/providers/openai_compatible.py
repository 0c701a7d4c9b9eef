"""Servers that speak OpenAI's protocol: vLLM, SGLang, llama.cpp, and most others.

They agree on everything but how a video is written into a message: see dialects.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from telecine.errors import ProviderError, ProviderFailed
from telecine.models import Call, Capabilities, Conversation, FilePart, ProviderEvent
from telecine.net import Client
from telecine.providers import catalog, chat, dialects
from telecine.providers.base import Health, Model, check_offered
from telecine.providers.chat import Chat, Videos, messages, parameters
from telecine.providers.dialects import Dialect
from telecine.providers.exchange import Listing
from telecine.providers.values import count, items, mapping, word, words

# Servers that tell what their models take, or how much at once. Vendors do not.
_TELLING = frozenset({"vllm", "sglang", "llamacpp", "ollama", "generic"})
# Kimi takes larger videos as uploads only; so much base64 goes into a request.
_INLINE_BYTES = 20_000_000
_FILE_ID = re.compile(r"[\w-]+", re.ASCII)


class OpenAICompatible:
    """The adapter. `models`: what to offer; None: what the server lists.

    `video`: "frames" for models that see pictures only; None leaves it to the dialect, and to what
    the server tells.
    """

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str | None = None,
        dialect: dialects.Name = "generic",
        models: Sequence[str] | None = None,
        video: Literal["native", "frames"] | None = None,
    ) -> None:
        self.name = name
        self._dialect = Dialect(dialect, video)
        self._models = tuple(models or ())
        self._chat = Chat(name, client=client, base_url=base_url, api_key=(api_key or "").strip())
        self._listing = Listing(self._fetch)
        self._shown: dict[str, Listing[tuple[str, ...]]] = {}

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
        known = self._dialect.capabilities(model)
        if (card := catalog.seeded(model, self._dialect.name)) is not None:
            known = replace(
                known,
                context_tokens=card.capabilities.context_tokens,
                max_output_tokens=card.capabilities.max_output_tokens,
            )
        told = await self._told(model)
        if told is None:
            return known
        if told.input_modalities:
            modalities = {*told.input_modalities}
            if self._dialect.video == "native":
                modalities.add("video")
            known = dialects.as_told(known, modalities)
        return replace(known, context_tokens=told.context_tokens or known.context_tokens)

    async def generate(self, call: Call) -> AsyncGenerator[ProviderEvent, None]:
        async with self._uploaded(call) as uploaded:
            document = {
                **parameters(call),
                **self._dialect.options(call),
                "messages": messages(call, self._videos(call, uploaded)),
                "stream_options": {"include_usage": True},
            }
            async with aclosing(self._chat.ask(call, document)) as events:
                async for event in events:
                    yield event

    async def converse(self, call: Call, talk: Conversation) -> AsyncGenerator[ProviderEvent, None]:
        async with self._uploaded(call) as uploaded:
            document = {
                **self._dialect.media_options(call),
                **chat.body(call, talk, self._videos(call, uploaded)),
            }
            if talk.api == "chat" and talk.is_streamed:
                # Without that it tells nothing of what it used; who did not ask is not told.
                options = mapping(document.get("stream_options"))
                document["stream_options"] = {**options, "include_usage": True}
            async with aclosing(self._chat.pass_on(call, talk, document)) as events:
                async for event in events:
                    yield event

    async def price(self, model: str) -> catalog.Price | None:
        """The vendor's, from the seed: none of these servers tells one."""
        card = catalog.seeded(model, self._dialect.name)
        return card.price if card else None

    async def models(self) -> list[Model]:
        if self._models:
            return [Model(id=name) for name in self._models]
        return await self._listing.get()

    async def check(self) -> Health:
        try:
            models = await self._fetch()
        except ProviderError as error:
            return self._unwell(error)
        names = ", ".join(model.id for model in models[:3])
        return Health(is_ok=True, says=f"serves {names}" if names else "answers")

    def _videos(self, call: Call, uploaded: Mapping[FilePart, str]) -> Videos:
        def made(part: chat.VideoPart) -> Sequence[Mapping[str, Any]]:
            if isinstance(part, FilePart) and part in uploaded:
                return [{"type": "video_url", "video_url": {"url": f"ms://{uploaded[part]}"}}]
            return self._dialect.parts(part, call)

        return made

    @asynccontextmanager
    async def _uploaded(self, call: Call) -> AsyncIterator[Mapping[FilePart, str]]:
        """Those videos that would make a request to Kimi too large, by the names that they have
        there. They go again at the end, whatever happens."""
        uploaded: dict[FilePart, str] = {}
        try:
            if self._dialect.name == "kimi":
                for part in _too_large(call):
                    uploaded[part] = await self._upload(part, call)
            yield uploaded
        finally:
            for name in uploaded.values():
                await self._chat.delete(f"/files/{name}")

    async def _upload(self, part: FilePart, call: Call) -> str:
        told = await self._chat.post_file("/files", {"purpose": "video"}, part.path, call)
        name = word(mapping(told).get("id"))
        if name is None or not _FILE_ID.fullmatch(name):
            raise ProviderFailed(
                f"{self.name} took an upload and named no file", provider=self.name
            )
        return name

    async def _told(self, model: str) -> Model | None:
        """What the server says of a model, if it says anything and can be asked."""
        if self._dialect.name not in _TELLING:
            return None
        listed = await self._listing.get_or_last() or []
        found = next((each for each in listed if each.id == model), None)
        if self._dialect.name == "llamacpp" and found is None and len(listed) == 1:
            return listed[0]  # it has one, and answers to any name
        if self._dialect.name == "ollama" and found is not None:
            shown = self._shown.setdefault(model, Listing(lambda: self._show(model)))
            return replace(found, input_modalities=await shown.get_or_last() or ())
        return found

    async def _fetch(self) -> list[Model]:
        entries = items(mapping(await self._chat.get("/models")).get("data"))
        found = [_read(entry) for entry in entries if word(mapping(entry).get("id"))]
        if self._dialect.name == "llamacpp" and not all(m.input_modalities for m in found):
            # Older ones tell of their only model in another place.
            props = mapping(await self._chat.look_up("/props"))
            told = _of_props(mapping(props.get("modalities")))
            return [m if m.input_modalities else replace(m, input_modalities=told) for m in found]
        return found

    async def _show(self, model: str) -> tuple[str, ...]:
        shown = mapping(await self._chat.look_up("/api/show", {"model": model}))
        able = words(shown.get("capabilities"))
        if not able:
            return ()  # an older one, which does not tell
        return ("text", "image") if "vision" in able else ("text",)

    def _unwell(self, error: ProviderError) -> Health:
        if error.upstream_status in (401, 403):
            fix = f"set the variable that api_key_env of [providers.{self.name}] names to its key"
        elif error.upstream_status == 404:
            fix = f"base_url of [providers.{self.name}] must end where its API begins, often in /v1"
        else:
            fix = f"start the server, or mend base_url of [providers.{self.name}]"
        return Health(is_ok=False, says=f"{error.message} ({self._chat.base_url})", fix=fix)


def _too_large(call: Call) -> list[FilePart]:
    """The videos that have no room in the request beside those before them."""
    left, found = _INLINE_BYTES, []
    for part in dict.fromkeys(part for part in call.parts if isinstance(part, FilePart)):
        size = 4 * -(-part.bytes // 3)
        if size > left:
            found.append(part)
        else:
            left -= size
    return found


def _read(entry: Any) -> Model:
    """One entry of a server's list: vLLM and SGLang tell the context, llama.cpp all of it."""
    context = count(mapping(entry.get("meta")).get("n_ctx"))
    return Model(
        id=entry["id"],
        input_modalities=words(mapping(entry.get("architecture")).get("input_modalities")),
        context_tokens=count(entry.get("max_model_len")) or context,
    )


def _of_props(told: Mapping[str, Any]) -> tuple[str, ...]:
    names = {"vision": "image", "audio": "audio", "video": "video"}
    found = [name for key, name in names.items() if told.get(key) is True]
    return ("text", *found) if told else ()
