"""One conversation in OpenAI's protocol, which OpenRouter and most servers speak.

How it is sent, heard, and may go wrong is the same for all dialects: see exchange. What callers who
speak the protocol themselves ask goes on as it is, and some of it can not be streamed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from telecine.errors import InputError
from telecine.models import (
    Api,
    AudioPart,
    Call,
    Conversation,
    FilePart,
    FramesPart,
    ImagePart,
    LinkPart,
    Part,
    PdfPart,
    ProviderEvent,
)
from telecine.net import Client
from telecine.openai import bodies
from telecine.providers import verbatim
from telecine.providers.answer import Answer
from telecine.providers.body import Base64, loc
from telecine.providers.exchange import Asked, Exchange

VideoPart = FilePart | LinkPart | FramesPart
Videos = Callable[[VideoPart], Sequence[Mapping[str, Any]]]

_PATHS: Mapping[Api, str] = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
}


class Chat(Exchange):
    """A server under `base_url`, known to users as provider `name`.

    `reads_cost`: its `usage.cost` is a bill in US dollars. The key goes into the Authorization
    header and nowhere else; it is taken out of whatever the server says.
    """

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str | None,
        headers: Mapping[str, str] | None = None,
        reads_cost: bool = False,
    ) -> None:
        authorization = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        super().__init__(
            name,
            client=client,
            base_url=base_url,
            headers={**(headers or {}), **authorization},
            key=api_key,
        )
        self._reads_cost = reads_cost

    async def ask(self, call: Call, document: Any) -> AsyncGenerator[ProviderEvent, None]:
        """POST `document` and yield the answer as base.Provider.generate says.

        When it fails after the server told what it used, the Usage still comes first.
        """
        answer = Answer(reads_cost=self._reads_cost, wants_reasoning=call.reasoning)
        async with aclosing(self.tell(call, Asked(_PATHS["chat"], document), answer)) as events:
            async for event in events:
                yield event

    async def pass_on(
        self, call: Call, talk: Conversation, document: Any
    ) -> AsyncGenerator[ProviderEvent, None]:
        """The same as base.Converses.converse says: what the server answers goes on as it is."""
        answer = verbatim.answer(talk.api, reads_cost=self._reads_cost)
        asked = Asked(_PATHS[talk.api], document, is_streamed=talk.is_streamed)
        async with aclosing(self.tell(call, asked, answer)) as events:
            async for event in events:
                yield event


def messages(call: Call, videos: Videos) -> list[dict[str, Any]]:
    """The prompt and its media: text first, as the providers advise, then the parts in order.

    `videos` makes the dialect's parts of one, or raises InputError.
    """
    said: list[dict[str, Any]] = []
    if call.system_prompt:
        said.append({"role": "system", "content": call.system_prompt})
    if not call.parts:
        said.append({"role": "user", "content": call.prompt})
        return said
    media = [made for part in call.parts for made in _media(part, videos)]
    said.append({"role": "user", "content": [{"type": "text", "text": call.prompt}, *media]})
    return said


def body(call: Call, talk: Conversation, videos: Videos) -> dict[str, Any]:
    """The body that the caller sent, with its media as the dialect writes them."""
    contents: dict[tuple[str | int, ...], list[Any]] = {}
    # From the last to the first: one part may become many, and the places before it stay.
    for part in reversed(call.parts):
        *content, place = loc(part)[1:]
        made = _media(part, videos)
        if talk.api == "responses":
            made = [_as_response(each) for each in made]
        given = contents.setdefault(tuple(content), list(bodies.at(talk.body, tuple(content))))
        if len(made) == 1:
            made = [_fitted(given[int(place)], made[0])]
        given[int(place) : int(place) + 1] = made
    return bodies.replaced(talk.body, contents) | {"model": call.model}


def _media(part: Part, videos: Videos) -> Sequence[Mapping[str, Any]]:
    match part:
        case FilePart() | LinkPart() | FramesPart():
            return videos(part)
        case ImagePart(image):
            url = Base64(image.path, f"data:{image.mime};base64,")
            return [{"type": "image_url", "image_url": {"url": url}}]
        case AudioPart():
            sound = {"data": Base64(part.path), "format": part.format}
            return [{"type": "input_audio", "input_audio": sound}]
        case PdfPart(pdf):
            data = Base64(pdf.path, "data:application/pdf;base64,")
            file = {"filename": f"document-{pdf.index + 1}.pdf", "file_data": data}
            return [{"type": "file", "file": file}]
    raise InputError("This model takes media as files only", loc=loc(part))


def _as_response(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a chat as the Responses API writes it."""
    match part["type"]:
        case "text":
            return {"type": "input_text", "text": part["text"]}
        case "image_url":
            image = part["image_url"]
            detail = {"detail": image["detail"]} if "detail" in image else {}
            return {"type": "input_image", "image_url": image["url"], **detail}
        case "video_url":
            return {"type": "input_video", "video_url": part["video_url"]["url"]}
    return part


def _fitted(given: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """`made`, with whatever else the caller's own part said (such as how closely to look)."""
    if given.get("type") != made["type"]:
        return dict(made)
    inner = {
        name: {**given[name], **value}
        for name, value in made.items()
        if isinstance(value, Mapping) and isinstance(given.get(name), Mapping)
    }
    return {**given, **made, **inner}


def parameters(call: Call) -> dict[str, Any]:
    """What a request has besides its messages; effort each dialect has in words of its own."""
    asked = {
        "model": call.model,
        "stream": True,
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
        "seed": call.seed,
        "stop": list(call.stop) or None,
        "response_format": call.response_format,
    }
    return {name: value for name, value in asked.items() if value is not None}
