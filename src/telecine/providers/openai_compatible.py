"""Servers that speak OpenAI's protocol: vLLM, SGLang, llama.cpp, and most others.

They agree on everything but how a video is written into a message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
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

Dialect = Literal[
    "vllm", "sglang", "llamacpp", "ollama", "dashscope", "zai", "kimi", "ark", "generic"
]


# The libraries that these read pictures with know fewer formats than the others'.
_IMAGES: Mapping[str, tuple[str, ...]] = {
    "llamacpp": ("png", "jpeg", "gif"),
    "ollama": ("png", "jpeg", "webp"),
}
_AUDIO = ("wav", "mp3")


class OpenAICompatible:
    """The adapter. `models`: what to offer; None: what the server lists.

    `video`: "frames" for models that see pictures only; None leaves it to the dialect.
    """

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str | None = None,
        dialect: Dialect = "generic",
        models: Sequence[str] | None = None,
        video: Literal["native", "frames"] | None = None,
    ) -> None:
        self.name = name
        self._dialect = dialect
        self._models = tuple(models or ())
        self._takes_files = video == "native" or (video is None and dialect != "ollama")
        self._chat = Chat(name, client=client, base_url=base_url, api_key=(api_key or "").strip())
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
        if self._models and model not in self._models:
            raise ProviderRejected(
                f"{model!r} is not among the models of [providers.{self.name}]: "
                + ", ".join(self._models),
                loc=("body", "model"),
                provider=self.name,
            )
        return Capabilities(
            delivery=("file",) if self._takes_files else (),
            images=_IMAGES.get(self._dialect, IMAGE_FORMATS),
            audio=() if self._dialect == "ollama" else _AUDIO,
        )

    def generate(self, call: Call) -> AsyncIterator[ProviderEvent]:
        document = {
            **parameters(call),
            "messages": messages(call, self._video),
            "stream_options": {"include_usage": True},
        }
        return self._chat.ask(call, document)

    def converse(self, call: Call, talk: Conversation) -> AsyncIterator[ProviderEvent]:
        document = chat.body(call, talk, self._video)
        if talk.api == "chat" and talk.is_streamed:
            # Without that it tells nothing of what it used; who did not ask is not told.
            options = document.get("stream_options")
            given = options if isinstance(options, Mapping) else {}
            document["stream_options"] = {**given, "include_usage": True}
        return self._chat.pass_on(call, talk, document)

    async def price(self, model: str) -> catalog.Price | None:
        return None

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

    def _video(self, part: FilePart | LinkPart) -> Mapping[str, Any]:
        if isinstance(part, LinkPart):
            raise InputError(f"{self.name} takes no links, only video files", loc=part.loc)
        video = part.video
        if not self._takes_files:
            raise InputError(f"{self.name} takes pictures, not videos", loc=video.loc)
        if self._dialect == "llamacpp":
            # The word is OpenRouter's old one; the shape is its own.
            return {"type": "input_video", "input_video": {"data": Base64(video.path)}}
        return {
            "type": "video_url",
            "video_url": {"url": Base64(video.path, f"data:{video.mime};base64,")},
        }

    async def _fetch(self) -> list[Model]:
        answer = await self._chat.get("/models")
        entries = answer.get("data") if isinstance(answer, Mapping) else None
        return [
            Model(id=entry["id"])
            for entry in (entries if isinstance(entries, list) else ())
            if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)
        ]

    def _unwell(self, error: ProviderError) -> Health:
        if error.upstream_status in (401, 403):
            fix = f"set the variable that api_key_env of [providers.{self.name}] names to its key"
        elif error.upstream_status == 404:
            fix = f"base_url of [providers.{self.name}] must end where its API begins, often in /v1"
        else:
            fix = f"start the server, or mend base_url of [providers.{self.name}]"
        return Health(is_ok=False, says=error.message, fix=fix)
