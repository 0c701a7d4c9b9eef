"""The one pipeline: a Request in, a stream of Events out. Run, stream and queue are its consumers.

    1  endpoints.parse_input(document)     -> what is asked for, or the 422 entries
    2  registry.resolve(model)             -> the route: the provider, and what it takes
    3  sources.fetch(media)                -> files on this disk that were opened and looked at
    4  plan.make(media, capabilities)      -> how each gets there
    5  preparer.parts(plan)                -> what is sent
    6  provider.generate(call)             -> text, reasoning, usage, as they come
    7  evidence.judge(usage)               -> whether it was seen
    8  ledger.priced(usage)                -> the cost, and where the figure comes from

Until the first text is out, what fails is tried otherwise: in another form where the upstream
refused one (back to 4), then with the next of `models` (back to 2). A video longer than the model
takes at once is asked about stretch by stretch (segments), and 6 to 8 are done for each.

What comes in OpenAI's words goes the same way. It is passed on in those words to a provider that
speaks them (`converse`); any other is asked in plain ones, and its answer is put into OpenAI's.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from telecine import endpoints, evidence, formats, ledger, openai, segments, wire
from telecine.circuits import Circuits, Pause
from telecine.errors import (
    FormRefused,
    InputError,
    Loc,
    Problem,
    ProviderError,
    ProviderFailed,
    ProviderUnavailable,
    TelecineError,
    VideoNotConsumed,
)
from telecine.media import plan
from telecine.media.plan import Plan, Span
from telecine.media.prepare import Preparer
from telecine.media.sources import Held, Sources
from telecine.models import (
    Asked,
    Audio,
    Bill,
    Call,
    Checkpoint,
    Chunk,
    Conversation,
    Delta,
    Done,
    Event,
    FilePart,
    Form,
    FramesPart,
    LinkPart,
    Log,
    Media,
    Part,
    ProviderEvent,
    Request,
    RouterRequest,
    Upstream,
    Usage,
    Video,
)
from telecine.openai import bodies
from telecine.providers.base import Settles, converses
from telecine.providers.body import Base64
from telecine.providers.catalog import Price
from telecine.providers.registry import Registry, Route
from telecine.receipts import Story
from telecine.segments import Segment

SEGMENTS_AT_ONCE = 3
# How long the end of an answer waits for figures that came without it.
_NO_ACCOUNT = (401, 402, 403)  # the operator's key or credit is no good: nothing was begun
SETTLE_WAITS = (0.0, 1.0, 2.0)
SETTLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a request would be sent as. `prompt_tokens` of all calls together, as estimated; the
    cost in US dollars without a word of answer, and with the longest that may come. None: not
    known."""

    route: Route
    plan: Plan
    media: tuple[Media, ...]
    warnings: tuple[str, ...]
    prompt_tokens: int | None
    price: Price | None
    cost_low: Decimal | None
    cost_high: Decimal | None


class Inference:
    """Holds no state between runs but which routes do not answer; everything it uses is opened and
    closed by `app`. `segments_at_once`: stretches of one video."""

    def __init__(
        self,
        *,
        registry: Registry,
        sources: Sources,
        preparer: Preparer,
        segments_at_once: int = SEGMENTS_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._sources = sources
        self._preparer = preparer
        self._segments_at_once = segments_at_once
        self._clock = clock
        self._now = now
        self._circuits = Circuits(clock)

    def held(self) -> Sequence[Pause]:
        """The routes that are left alone for a while."""
        return self._circuits.held()

    async def run(self, request: Request) -> AsyncGenerator[Event, None]:
        """Do `request`. Yields Log and Delta (or Chunk), Asked, Bill and Checkpoint as they come,
        then Usage, Receipt and Done.

        Raises TelecineError; whatever is known by then was yielded as Usage and Receipt before. A
        Receipt comes also before a model is asked: the last one counts. Closing the generator
        stops the upstream work; of calls then under way no more than Asked was yielded.
        """
        story = Story(request, self._clock)
        try:
            async with aclosing(self._steps(request, story)) as events:
                async for event in events:
                    yield event
        except TelecineError as error:
            if story.usages:
                yield story.usage
            story.refused(error)
            yield story.receipt(error)
            raise
        yield story.usage
        yield story.receipt(None)
        yield Done(story.finish_reason)

    async def plan(self, request: Request) -> Planned:
        """How `request` would be sent to the first of its models, and what that may cost: its media
        are fetched and looked at, nothing is prepared, and nobody is asked. Raises as `run`."""
        story = Story(request, self._clock)
        asked = await _asked(request)
        async with self._sources.hold(request) as held:
            work = _Work(request, asked, held, story)
            route = await self._registry.resolve(asked.model)
            asked, warnings = _honoured(request, asked, route)
            links = _links(asked, route, downloads=self._sources.fetches_links)
            async for _ in self._fetched(work, route, links):
                pass
            made = _planned(asked, route, story.media, links, frozenset())
        return _estimated(asked, route, made, [*warnings, *made.warnings])

    async def _steps(self, request: Request, story: Story) -> AsyncGenerator[Event, None]:
        """With each of the models in turn, until one answers, or has begun to."""
        asked = await _asked(request)
        names, errors = (asked.model, *asked.models), list[TelecineError]()
        async with self._sources.hold(request) as held:
            work = _Work(request, asked, held, story)
            for name, following in zip(names, (*names[1:], None), strict=True):
                try:
                    async with aclosing(self._with_model(work, name)) as events:
                        async for event in events:
                            yield event
                    return
                except (ProviderError, InputError) as error:
                    if work.is_fetching or story.has_begun:
                        raise
                    errors.append(error)
                    if following is None:
                        raise _foremost(errors)  # noqa: B904 -- it has a cause of its own
                    story.falls_back(name, error)
                log = Log(f"{errors[-1].message}; {following} is asked instead", "WARN")
                story.heard(log)
                yield log

    async def _with_model(self, work: _Work, name: str) -> AsyncGenerator[Event, None]:
        """In each of the forms that its provider may take, until one is taken."""
        story = work.story
        route = await self._registry.resolve(name)
        story.took(work.asked, route)
        self._circuits.check(route.provider.name, route.model)
        asked = work.asked if name == work.asked.model else replace(work.asked, model=name)
        asked, warnings = _honoured(work.request, asked, route)
        for log in _news(story, warnings):
            yield log
        turn = _Turn(work, route, asked)
        links = _links(asked, route, downloads=self._sources.fetches_links)
        async for log in self._fetched(work, route, links):
            yield log
        refusal: FormRefused | None = None
        refused: frozenset[Form] = frozenset()
        while True:
            try:
                made = _planned(asked, route, story.media, links, refused)
            except InputError as error:
                raise refusal or error from None
            for log in _news(story, made.warnings):
                yield log
            story.planned(made)
            try:
                async with aclosing(self._delivered(turn, made)) as events:
                    async for event in events:
                        yield event
                story.answered()
                return
            except FormRefused as error:
                form = _refused_form(made, error)
                if story.has_begun or form is None or form in refused:
                    raise
                refusal, refused = error, refused | {form}
                story.refused(error)
            log = Log(f"{refusal.message}; not sent as {form} then", "WARN")
            story.heard(log)
            yield log

    async def _fetched(
        self, work: _Work, route: Route, links: Sequence[LinkPart]
    ) -> AsyncIterator[Log]:
        """What of the media is not here yet, or not in a form that this route takes."""
        story, capabilities = work.story, route.capabilities
        here = {medium.loc for medium in story.media if not _lacks_wav(medium, route)}
        elsewhere = {link.loc for link in links} | here
        names = [name for name in work.asked.media if name.loc not in elsewhere]
        work.is_fetching = True
        async for item in work.held.fetch(names, capabilities):
            if isinstance(item, Log):
                yield item
            else:
                work.add(item)
        work.is_fetching = False
        story.fetched()

    async def _delivered(self, turn: _Turn, made: Plan) -> AsyncGenerator[Event, None]:
        """What `made` says, sent and answered."""
        work, route, asked = turn.work, turn.route, turn.asked
        if made.spans:
            async with aclosing(self._in_segments(turn, made)) as events:
                async for event in events:
                    yield event
            return
        parts: list[Part] = []
        async for log in self._prepared(work, made, parts):
            yield log
        work.story.prepared(parts)
        call = _call(work.request, asked, route, parts)
        talk = asked.conversation
        if talk is None or not converses(route.provider):
            question = _Question(call, _generated(route, call))
        else:
            sent = await _as_sent(work.request, talk, asked, work.held)
            question = _Question(
                call, partial(route.provider.converse, call, sent), is_conversation=True
            )
        async with aclosing(self._answered(turn, question)) as answer:
            async for event in answer:
                yield event

    async def _prepared(self, work: _Work, made: Plan, parts: list[Part]) -> AsyncIterator[Log]:
        """`parts` is filled."""
        basis = made.basis
        planned = {video.loc for video in made.videos}
        names = [name for name in basis.names if name.kind != "video" or name.loc in planned]
        prepared = self._preparer.parts(made, names, basis.media, basis.links, work.held)
        async for item in prepared:
            if isinstance(item, Log):
                work.story.heard(item)
                yield item
            else:
                parts.append(item)

    # ------------------------------------------------------------ stretch by stretch

    async def _in_segments(self, turn: _Turn, made: Plan) -> AsyncGenerator[Event, None]:
        """Only what joins the stretches is heard by the caller."""
        work, route, asked = turn.work, turn.route, turn.asked
        found: dict[Span, Segment] = {}
        undone: list[segments.Work] = []
        for number, span in enumerate(made.spans, 1):
            stretch = _Stretch(number, len(made.spans), span, plan.for_span(made, span))
            name = segments.name(asked, route, stretch.plan, span)
            if name not in work.kept:
                undone.append(partial(self._segment, turn, stretch, name, found))
                continue
            segment = found[span] = segments.restored(work.kept[name], span)
            work.story.segment(
                stretch.shown(segment), earlier=None if name in work.own else segment.usage
            )
            yield Log(f"{stretch.label} was done before")
        yield work.story.receipt(None)
        async with aclosing(segments.together(undone, self._segments_at_once)) as events:
            async for event in events:
                yield event
        last = plan.anchors(made)
        parts: list[Part] = []
        async for log in self._prepared(work, last, parts):
            yield log
        in_order = [found[span] for span in made.spans]
        prompt = segments.answer_from(asked, in_order, has_stills=bool(last.videos))
        call = replace(_call(work.request, asked, route, parts), prompt=prompt)
        question = _Question(call, _generated(route, call), is_judged=False)
        async with aclosing(self._answered(turn, question)) as answer:
            async for event in answer:
                yield event

    async def _segment(
        self, turn: _Turn, stretch: _Stretch, name: str, found: dict[Span, Segment]
    ) -> AsyncGenerator[Event, None]:
        """One stretch: what is told of it goes into `found`, and is kept."""
        work, route, asked = turn.work, turn.route, turn.asked
        parts: list[Part] = []
        async for log in self._prepared(work, stretch.plan, parts):
            yield log
        video = next((m for m in stretch.plan.basis.media if isinstance(m, Video)), None)
        prompt = segments.question(asked, stretch.span, parts, video.seconds if video else None)
        most = route.capabilities.max_output_tokens or segments.MAX_TOKENS
        call = replace(
            _call(work.request, replace(asked, reasoning=False), route, parts),
            prompt=prompt,
            max_tokens=min(most, segments.MAX_TOKENS),
            response_format=None,
            stop=(),
        )
        heard = _Heard()
        question = _Question(call, _generated(route, call))
        async with aclosing(self._called(turn, question, heard)) as events:
            async for event in events:
                if not isinstance(event, Delta | Chunk):
                    yield event
        segment = found[stretch.span] = Segment(stretch.span, heard.text, heard.usage)
        kept = segments.checkpoint(name, segment)
        work.keep(kept)
        work.story.segment(stretch.shown(segment))
        yield kept
        cost = heard.usage.cost
        yield Log(f"{stretch.label}" + ("" if cost is None else f", ${cost:f}"))

    # ------------------------------------------------------------ one call

    async def _answered(self, turn: _Turn, question: _Question) -> AsyncGenerator[Event, None]:
        """The answer that the caller hears, in the words that it wants."""
        story, heard = turn.work.story, _Heard()
        voice = self._voice(turn.work.request, turn.asked, question)
        yield story.receipt(None)
        try:
            async with aclosing(self._called(turn, question, heard)) as events:
                async for event in events:
                    story.upstream = heard.upstream
                    if isinstance(event, Asked) and event.upstream_id:
                        yield story.receipt(None)
                    if not isinstance(event, Delta | Chunk):
                        yield event
                        continue
                    for said in voice.say(event):
                        story.begins()
                        yield said
        except VideoNotConsumed:
            story.withheld(heard.text)
            raise
        story.upstream = voice.ended(heard.upstream)
        for said in voice.end(story.usage, story.finish_reason):
            story.begins()
            yield said
        if log := await self._misfit(turn, voice.text):
            yield log

    async def _called(
        self, turn: _Turn, question: _Question, heard: _Heard
    ) -> AsyncGenerator[Event, None]:
        """One call: Asked, what is said, and its Bill, whatever becomes of it. What it came to goes
        into `heard`. Raises VideoNotConsumed when its figures prove that."""
        route, story = turn.route, turn.work.story
        name = route.provider.name
        began = Asked(call=uuid.uuid4().hex, provider=name, model=route.model)
        yield began
        try:
            with self._circuits.call(name, route.model) as circuit:
                async with aclosing(question.events()) as events:  # type: ignore[type-var]
                    async for event in events:
                        known = heard.upstream_id
                        heard.take(event)
                        if not isinstance(event, Log):
                            circuit.answered()
                        if heard.upstream_id != known:
                            yield replace(began, upstream_id=heard.upstream_id)
                        if isinstance(event, Log):
                            story.heard(event)
                        if isinstance(event, Log | Delta | Chunk):
                            yield event
        except TelecineError as error:
            yield _bill(turn, began, _spent(heard, error, route), _upstream_id(heard, error))
            raise
        if heard.told is None:
            story.warn(["the provider reported no usage"])
        usage = ledger.priced(heard.told or Usage(), route.price)
        if _is_incomplete(question.call.parts, usage):
            usage = await _settled(route, heard.upstream_id, usage)
        heard.usage = usage
        yield _bill(turn, began, usage, heard.upstream_id)
        if question.is_judged:
            for log in _judged(story, turn.asked, question.call, usage):
                yield log

    async def _misfit(self, turn: _Turn, text: str) -> Log | None:
        """Whether the answer is what `response_format` wanted. With `strict` it has to be."""
        asked, story = turn.asked, turn.work.story
        if asked.response_format is None or asked.conversation is not None:
            return None
        says = await asyncio.to_thread(formats.mismatch, asked.response_format, text)
        if says is None:
            return None
        if asked.strict:
            story.withheld(text)
            loc = ("body", "response_format")
            raise InputError(says, loc=loc, type="response_format_mismatch")
        log = Log(says, "WARN")
        story.heard(log)
        return log

    def _voice(self, request: Request, asked: RouterRequest, question: _Question) -> _Voice:
        talk, stop = asked.conversation, () if question.call.stop else asked.stop
        if talk is None or question.is_conversation:
            return _Voice(None, stop)
        created = int(self._now())
        writer = openai.writer(talk, request_id=request.id, model=asked.model, created=created)
        return _Voice(writer, stop)


@dataclass(slots=True)
class _Work:
    """A request on its way. `kept`: finished pieces by name; `own`: those of them of this run."""

    request: Request
    asked: RouterRequest
    held: Held
    story: Story
    is_fetching: bool = False
    kept: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.kept = dict(self.request.checkpoints)

    def keep(self, checkpoint: Checkpoint) -> None:
        self.kept[checkpoint.name] = checkpoint.body
        self.own.add(checkpoint.name)

    def add(self, medium: Media) -> None:
        """In the order of the names, and once."""
        media = {known.loc: known for known in self.story.media} | {medium.loc: medium}
        order = [name.loc for name in self.asked.media]
        self.story.media[:] = sorted(media.values(), key=lambda each: order.index(each.loc))


@dataclass(frozen=True, slots=True)
class _Turn:
    """A model's turn at it: `asked` is what of the request this route can be asked."""

    work: _Work
    route: Route
    asked: RouterRequest


@dataclass(frozen=True, slots=True)
class _Stretch:
    """`number` of `total` stretches, and how it gets there."""

    number: int
    total: int
    span: Span
    plan: Plan

    @property
    def label(self) -> str:
        return f"segment {self.number}/{self.total} done: {segments.label(self.span)}"

    def shown(self, segment: Segment) -> dict[str, Any]:
        usage, span = segment.usage, self.span
        return {
            "number": self.number,
            "video": span.index,
            "start": span.start,
            "end": None if math.isinf(span.end) else span.end,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "usd": None if usage.cost is None else f"{usage.cost:f}",
        }


@dataclass(frozen=True, slots=True)
class _Question:
    """A call, and how it is made. `is_conversation`: it is answered in OpenAI's words already."""

    call: Call
    events: Callable[[], AsyncIterator[ProviderEvent]]
    is_conversation: bool = False
    is_judged: bool = True


@dataclass(slots=True)
class _Heard:
    """What one call has come to. `told` is as the provider said it, `usage` with its cost."""

    upstream: Upstream | None = None
    told: Usage | None = None
    usage: Usage = field(default_factory=Usage)
    _pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def upstream_id(self) -> str | None:
        return self.upstream.id if self.upstream else None

    def take(self, event: ProviderEvent) -> None:
        match event:
            case Usage():
                self.told = event
            case Upstream():
                self.upstream = event
            case Delta():
                self._pieces.append(event.text)
            case Chunk():
                self._pieces.append(wire.dumps(event.body))


class _Voice:
    """Says a plain answer in OpenAI's words where those are wanted, and any other as it is; it ends
    at the first of the `stop` words, where the provider does not see to that itself."""

    def __init__(self, writer: openai.Writer | None, stop: Sequence[str]) -> None:
        self._writer = writer
        self._stops = formats.Stops(stop)
        self._said: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._said)

    def say(self, event: Delta | Chunk) -> Iterable[Delta | Chunk]:
        if isinstance(event, Chunk):
            return (event,)
        text = self._stops.take(event.text)
        return self._told(Delta(text, event.reasoning)) if text or event.reasoning else ()

    def ended(self, upstream: Upstream | None) -> Upstream | None:
        """With the reason for which the caller sees it end."""
        if not self._stops.is_over:
            return upstream
        return replace(upstream or Upstream(), finish_reason="stop")

    def end(self, usage: Usage, finish_reason: str | None) -> Iterator[Delta | Chunk]:
        if rest := self._stops.rest():
            yield from self._told(Delta(rest))
        if self._writer is not None:
            yield from map(Chunk, self._writer.end(usage, finish_reason))

    def _told(self, delta: Delta) -> Iterable[Delta | Chunk]:
        self._said.append(delta.text)
        return (delta,) if self._writer is None else map(Chunk, self._writer.delta(delta))


# ---------------------------------------------------------------- what is asked


async def _asked(request: Request) -> RouterRequest:
    asked = endpoints.parse_input(request.endpoint, request.document)
    # A long data URI anywhere in a body becomes a placeholder; only media have a use for one.
    for name in ("model",) if asked.conversation else ("prompt", "system_prompt", "model"):
        if getattr(asked, name) in request.attachments:
            raise InputError("Input should be text, not a data URI", loc=("body", name))
    if asked.response_format is not None:
        # A thousand subschemas take a third of a second.
        await asyncio.to_thread(formats.check_schema, asked.response_format)
    return asked


def _honoured(
    request: Request, asked: RouterRequest, route: Route
) -> tuple[RouterRequest, list[str]]:
    """What is asked of this route, and, as warnings, what it cannot do of `asked`; InputError where
    that is all of it, or where the caller wants no less than everything."""
    found = _unsaid(request, asked, route)
    if asked.web_search is not None and not route.capabilities.web_search:
        says = f"{asked.model} cannot search the web here"
        if asked.strict:
            loc = ("body", "enable_web_search")
            raise InputError(says, loc=loc, type="feature_not_supported")
        found.append(f"{says}: enable_web_search is ignored")
        asked = replace(asked, web_search=None)
    is_passed_on = asked.conversation is not None and converses(route.provider)
    options = ("provider",) if is_passed_on else ("effort", "seed", "temperature", "provider")
    lacking = [
        name
        for name in options
        if getattr(asked, name) is not None and name not in route.capabilities.options
    ]
    if lacking and asked.strict:
        problems = [
            Problem(
                ("body", "reasoning" if name == "effort" else name),
                f"{asked.model} does not take {name} here",
                "feature_not_supported",
            )
            for name in lacking
        ]
        raise InputError(problems[0].msg, type=problems[0].type, problems=problems)
    found += [f"{asked.model} does not take {name} here: it is ignored" for name in lacking]
    if lacking:
        nothing: dict[str, Any] = dict.fromkeys(lacking)
        asked = replace(asked, **nothing)
    return (asked, found) if is_passed_on else _instructed(asked, route, found)


def _instructed(
    asked: RouterRequest, route: Route, found: list[str]
) -> tuple[RouterRequest, list[str]]:
    """A response_format that the route does not take becomes words; the answer is checked."""
    wanted = asked.response_format
    if wanted is None or "response_format" in route.capabilities.options:
        return asked, found
    words = formats.instruction(wanted)
    if words:
        found.append(f"{asked.model} takes no response_format here: it is asked for it in words")
        words = "\n\n".join(text for text in (asked.system_prompt, words) if text)
        asked = replace(asked, system_prompt=words)
    return asked, found


def _unsaid(request: Request, asked: RouterRequest, route: Route) -> list[str]:
    """What of a Conversation is lost on a provider that does not speak OpenAI's API."""
    talk = asked.conversation
    if talk is None or converses(route.provider):
        return []
    if talk.api == "embeddings":
        raise InputError(
            f"{asked.model} makes no embeddings: choose a model that does, of a provider that "
            "speaks OpenAI's API",
            loc=("body", "model"),
            type="feature_not_supported",
        )
    texts = (asked.prompt, asked.system_prompt or "")
    if any(mark in text for mark in request.attachments for text in texts):
        raise InputError("Text is wanted here, not a data URI", loc=_text_loc(talk))
    if asked.unsaid:
        return [f"{asked.model} has no use for {', '.join(asked.unsaid)}: ignored"]
    return []


def _call(request: Request, asked: RouterRequest, route: Route, parts: Sequence[Part]) -> Call:
    options = route.capabilities.options
    return Call(
        request_id=request.id,
        model=route.model,
        prompt=asked.prompt,
        parts=tuple(parts),
        system_prompt=asked.system_prompt,
        reasoning=asked.reasoning,
        effort=asked.effort,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        seed=asked.seed,
        stop=asked.stop if "stop" in options else (),
        response_format=asked.response_format if "response_format" in options else None,
        provider=asked.provider,
        web_search=asked.web_search,
        text_loc=_text_loc(asked.conversation),
    )


def _generated(route: Route, call: Call) -> Callable[[], AsyncIterator[ProviderEvent]]:
    return lambda: route.provider.generate(call)


async def _as_sent(
    request: Request, talk: Conversation, asked: RouterRequest, held: Held
) -> Conversation:
    """The body as the provider gets it: with the data URIs that are no media of ours back in it,
    and without what is seen to here, or has no place there. The queue has no use for a stream.
    """
    strays = {}
    media = {name.text for name in asked.media}
    for path, text in bodies.strings(talk.body) if request.attachments else ():
        if text in request.attachments and text not in media:
            content_type, file = await held.attached(text, ("body", *path))
            strays[path] = Base64(file, f"data:{content_type};base64," if content_type else "")
    body = bodies.replaced(talk.body, strays)
    is_streamed = request.mode == "stream"
    unwanted = {"models"} if asked.provider is not None else {"models", "provider"}
    if not is_streamed:
        unwanted |= {"stream", "stream_options"}
    body = {name: value for name, value in body.items() if name not in unwanted}
    return replace(talk, body=body, is_streamed=is_streamed)


def _text_loc(talk: Conversation | None) -> Loc:
    if talk is None:
        return ("body", "prompt")
    return ("body", "messages" if talk.api == "chat" else "input")


# ---------------------------------------------------------------- how it gets there


def _links(asked: RouterRequest, route: Route, *, downloads: bool) -> list[LinkPart]:
    return plan.links(asked.media, route.capabilities, asked.model, asked.view, downloads=downloads)


def _planned(
    asked: RouterRequest,
    route: Route,
    media: Sequence[Media],
    links: Sequence[LinkPart],
    refused: frozenset[Form],
) -> Plan:
    return plan.make(
        asked.media,
        media,
        links,
        route.capabilities,
        asked.view,
        model=asked.model,
        prompt=asked.prompt + (asked.system_prompt or ""),
        max_tokens=asked.max_tokens,
        strict=asked.strict,
        refused=refused,
    )


def _refused_form(made: Plan, error: FormRefused) -> Form | None:
    """The form of the video that it names; else of the first."""
    named = [video for video in made.videos if video.loc == error.loc] or made.videos
    return named[0].form if named else None


def _lacks_wav(medium: Media, route: Route) -> bool:
    """It was fetched for a model that takes its format; this one does not."""
    return (
        isinstance(medium, Audio)
        and medium.wav is None
        and medium.format not in route.capabilities.audio
        and not route.capabilities.is_decoded
    )


def _estimated(asked: RouterRequest, route: Route, made: Plan, warnings: Sequence[str]) -> Planned:
    tokens, price = made.tokens, route.price
    most = asked.max_tokens or route.capabilities.max_output_tokens
    if most is not None:
        most += len(made.spans) * min(segments.MAX_TOKENS, most)

    def cost(completion_tokens: int | None) -> Decimal | None:
        if price is None or tokens is None or completion_tokens is None:
            return None
        return price.cost(Usage(prompt_tokens=tokens, completion_tokens=completion_tokens))

    return Planned(
        route=route,
        plan=made,
        media=tuple(m for m in made.basis.media),
        warnings=tuple(dict.fromkeys(warnings)),
        prompt_tokens=tokens,
        price=price,
        cost_low=cost(0),
        cost_high=cost(most),
    )


# ---------------------------------------------------------------- what came of it


def _foremost(errors: Sequence[TelecineError]) -> TelecineError:
    """Of what all models said, what the caller is to know: something may have been billed; else
    that it may be tried again; else what the last one said."""
    for kind in (ProviderFailed, ProviderUnavailable):
        if found := [error for error in errors if isinstance(error, kind)]:
            return found[-1]
    return errors[-1]


def _news(story: Story, warnings: Iterable[str]) -> list[Log]:
    """Those that were not told before."""
    logs = [Log(warning, "WARN") for warning in warnings if warning not in story.warnings]
    story.warn([log.message for log in logs])
    return logs


def _bill(turn: _Turn, began: Asked, usage: Usage | None, upstream_id: str | None) -> Bill:
    price = turn.route.price if usage is not None and usage.cost_source == "computed" else None
    bill = Bill(
        call=began.call,
        usage=usage,
        provider=began.provider,
        model=began.model,
        upstream_id=upstream_id,
        price_source=_dated(price) if price else None,
    )
    if usage is not None:
        turn.work.story.bills.append(bill)
    return bill


def _spent(heard: _Heard, error: TelecineError, route: Route) -> Usage | None:
    """What a call that failed used; None: it was refused, and nothing was billed."""
    if heard.told is not None:
        return ledger.priced(heard.told, route.price)
    if not isinstance(error, ProviderFailed):
        return None
    is_refused = error.upstream_status in _NO_ACCOUNT and not heard.text
    return None if is_refused else Usage()


def _upstream_id(heard: _Heard, error: TelecineError) -> str | None:
    told = error.upstream_id if isinstance(error, ProviderError) else None
    return heard.upstream_id or told


def _is_incomplete(parts: Sequence[Part], usage: Usage) -> bool:
    """Video went out, and no prompt tokens were counted: not even the prompt's own."""
    has_video = any(isinstance(part, FilePart | LinkPart | FramesPart) for part in parts)
    return has_video and usage.prompt_tokens == 0 and usage.cost_source != "free"


async def _settled(route: Route, upstream_id: str | None, usage: Usage) -> Usage:
    """What the upstream says of a call when it is asked again; unknown if it does not."""
    if upstream_id is not None and isinstance(route.provider, Settles):
        for seconds in SETTLE_WAITS:
            await asyncio.sleep(seconds)
            with suppress(ProviderError, TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    told = await route.provider.settle(upstream_id)
                if told is not None and told.cost is not None:
                    return told
    return replace(usage, cost=None, cost_source="unknown")


def _judged(story: Story, asked: RouterRequest, call: Call, usage: Usage) -> list[Log]:
    """Doubts, as warnings. Raises VideoNotConsumed."""
    found = evidence.judge(call.parts, call.prompt + (call.system_prompt or ""), usage)
    story.judged(found)
    numbers = {name.loc: name.index + 1 for name in asked.media}
    problems = [
        Problem(
            loc,
            f"{asked.model} did not see video {numbers[loc]}: {verdict.says}",
            VideoNotConsumed.type,
            {
                "evidence": verdict.says,
                "prompt_tokens": usage.prompt_tokens,
                "prompt_tokens_by_modality": dict(usage.by_modality),
            },
        )
        for loc, verdict in found.unseen(strict=asked.strict).items()
    ]
    if problems:
        raise VideoNotConsumed(problems[0].msg, problems=problems)
    return _news(
        story,
        [
            f"{asked.model} may not have seen video {numbers[loc]}: {verdict.says}"
            for loc, verdict in found.verdicts.items()
            if verdict.is_doubtful
        ],
    )


def _dated(price: Price) -> str:
    return " ".join(word for word in (price.source, price.dated) if word)
