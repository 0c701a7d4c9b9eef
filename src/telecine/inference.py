"""The one pipeline: a Request in, a stream of Events out. Run, stream and queue are its consumers.

    1  endpoints.parse_input(document)     -> what is asked for, or the 422 entries
    2  registry.resolve(model)             -> the provider, and what it accepts
    3  sources.fetch(media)                -> files on this disk that were opened and looked at
    4  plan.parts(media, capabilities)     -> what will be sent
    5  provider.generate(call)             -> text, reasoning, usage, as they come
    6  ledger.priced(usage)                -> the cost, and where the figure comes from

What comes in OpenAI's words goes the same way. It is passed on in those words to a provider that
speaks them (`converse`); any other is asked in plain ones, and its answer is put into OpenAI's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace

from telecine import endpoints, ledger, openai
from telecine.errors import InputError, Loc, TelecineError
from telecine.media import plan
from telecine.media.sources import Held, Sources
from telecine.models import (
    Call,
    Chunk,
    Conversation,
    Delta,
    Done,
    Event,
    Log,
    Part,
    ProviderEvent,
    Request,
    RouterRequest,
    Upstream,
    Usage,
)
from telecine.openai import bodies
from telecine.providers.base import converses
from telecine.providers.body import Base64
from telecine.providers.registry import Registry, Route
from telecine.receipts import Story


class Inference:
    """Holds no state of its own between runs; everything it uses is opened and closed by `app`."""

    def __init__(
        self,
        *,
        registry: Registry,
        sources: Sources,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._sources = sources
        self._clock = clock
        self._now = now

    async def run(self, request: Request) -> AsyncGenerator[Event, None]:
        """Do `request`. Yields Log and Delta (or Chunk) as they come, then Usage, Receipt and Done.

        Raises TelecineError; whatever is known by then was yielded as Usage and Receipt before.
        Closing the generator stops the upstream work.
        """
        story = Story(request, self._clock)
        try:
            async with aclosing(self._steps(request, story)) as events:
                async for event in events:
                    yield event
        except TelecineError as error:
            if story.usage:
                yield story.usage
            yield story.receipt(error)
            raise
        yield story.usage or Usage()
        yield story.receipt(None)
        yield Done(story.finish_reason)

    async def _steps(self, request: Request, story: Story) -> AsyncGenerator[Event, None]:
        """Log, Delta and Chunk as they come; everything else goes into the story."""
        asked = endpoints.parse_input(request.endpoint, request.document)
        _refuse_data_as_text(request, asked)
        route = await self._registry.resolve(asked.model)
        story.took(asked, route)
        for warning in _unheeded(request, asked, route):
            story.warnings.append(warning)
            yield Log(warning, "WARN")
        async with self._sources.hold(request) as held:
            links = plan.links(asked.media, route.capabilities, asked.model)
            taken = {link.loc for link in links}
            names = [name for name in asked.media if name.loc not in taken]
            async for item in held.fetch(names, route.capabilities):
                if isinstance(item, Log):
                    yield item
                else:
                    story.media.append(item)
            parts = plan.parts(asked.media, story.media, links, route.capabilities, held.decoder)
            story.prepared(parts)
            answer = await _answer(request, asked, route, parts, held)
            voice = self._voice(request, asked, route)
            async with aclosing(answer) as events:  # type: ignore[type-var]
                async for event in events:
                    match event:
                        case Usage():
                            story.usage = ledger.priced(event, route.price)
                        case Upstream():
                            story.upstream = event
                        case Delta() | Chunk():
                            story.first_delta()
                            for said in voice.say(event):
                                yield said
                        case Log():
                            story.heard(event)
                            yield event
        if story.usage is None:
            story.usage = Usage()
            story.warnings.append("the provider reported no usage")
        for said in voice.end(story.usage, story.finish_reason):
            yield said

    def _voice(self, request: Request, asked: RouterRequest, route: Route) -> _Voice:
        talk = asked.conversation
        if talk is None or converses(route.provider):
            return _Voice(None)
        created = int(self._now())
        return _Voice(
            openai.writer(talk, request_id=request.id, model=asked.model, created=created)
        )


class _Voice:
    """Says a plain answer in OpenAI's words where those are wanted, and any other as it is."""

    def __init__(self, writer: openai.Writer | None) -> None:
        self._writer = writer

    def say(self, event: Delta | Chunk) -> Iterable[Delta | Chunk]:
        if self._writer is None or isinstance(event, Chunk):
            return (event,)
        return map(Chunk, self._writer.delta(event))

    def end(self, usage: Usage, finish_reason: str | None) -> Iterable[Chunk]:
        return map(Chunk, self._writer.end(usage, finish_reason)) if self._writer else ()


async def _answer(
    request: Request, asked: RouterRequest, route: Route, parts: list[Part], held: Held
) -> AsyncIterator[ProviderEvent]:
    """The provider's answer, asked for in the caller's own words where it understands them."""
    talk, provider = asked.conversation, route.provider
    call = Call(
        request_id=request.id,
        model=route.model,
        prompt=asked.prompt,
        parts=tuple(parts),
        system_prompt=asked.system_prompt,
        reasoning=asked.reasoning,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        web_search=asked.web_search if route.capabilities.web_search else None,
        text_loc=_text_loc(talk),
    )
    if talk is not None and converses(provider):
        return provider.converse(call, await _as_sent(request, talk, asked, held))
    return provider.generate(call)


async def _as_sent(
    request: Request, talk: Conversation, asked: RouterRequest, held: Held
) -> Conversation:
    """The body as the provider gets it: with the data URIs that are no media of ours back in it.

    The queue has no use for a stream.
    """
    strays = {}
    media = {name.text for name in asked.media}
    for path, text in bodies.strings(talk.body) if request.attachments else ():
        if text in request.attachments and text not in media:
            content_type, file = await held.attached(text, ("body", *path))
            strays[path] = Base64(file, f"data:{content_type};base64," if content_type else "")
    body = bodies.replaced(talk.body, strays)
    is_streamed = request.mode == "stream"
    if not is_streamed:
        body = {name: body[name] for name in body if name not in ("stream", "stream_options")}
    return replace(talk, body=body, is_streamed=is_streamed)


def _text_loc(talk: Conversation | None) -> Loc:
    if talk is None:
        return ("body", "prompt")
    return ("body", "messages" if talk.api == "chat" else "input")


def _refuse_data_as_text(request: Request, asked: RouterRequest) -> None:
    """A long data URI anywhere in a body becomes a placeholder; only media have a use for one."""
    fields = ("model",) if asked.conversation else ("prompt", "system_prompt", "model")
    for field in fields:
        if getattr(asked, field) in request.attachments:
            raise InputError("Input should be text, not a data URI", loc=("body", field))


def _unheeded(request: Request, asked: RouterRequest, route: Route) -> list[str]:
    """What of the request this route cannot do, as warnings; InputError where that is all of it, or
    where the caller wants no less than everything."""
    found = []
    talk = asked.conversation
    if asked.web_search is not None and not route.capabilities.web_search:
        says = f"{asked.model} cannot search the web here"
        if asked.strict:
            loc = ("body", "enable_web_search")
            raise InputError(says, loc=loc, type="feature_not_supported")
        found.append(f"{says}: enable_web_search is ignored")
    if talk is not None and converses(route.provider):
        return found
    if talk is not None and talk.api == "embeddings":
        raise InputError(
            f"{asked.model} makes no embeddings: choose a model that does, of a provider that "
            "speaks OpenAI's API",
            loc=("body", "model"),
            type="feature_not_supported",
        )
    texts = (asked.prompt, asked.system_prompt or "")
    if talk is not None and any(mark in text for mark in request.attachments for text in texts):
        raise InputError("Text is wanted here, not a data URI", loc=_text_loc(talk))
    if asked.unsaid:
        found.append(f"{asked.model} has no use for {', '.join(asked.unsaid)}: ignored")
    return found
