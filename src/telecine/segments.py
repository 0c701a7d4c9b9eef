"""Videos longer than a model takes at once: stretches are asked one by one, then all are joined.

Every stretch gives facts with their times, as JSON; the model that was asked for then answers from
the facts and a few stills of the whole. A finished stretch is a checkpoint under a digest of all
that determines it: whoever runs the request again finds it there, and does not pay for it twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from telecine.media import plan
from telecine.media.plan import Plan, Span
from telecine.models import Checkpoint, Event, FilePart, LinkPart, Part, RouterRequest, Usage
from telecine.providers.registry import Route

MAX_TOKENS = 8192  # of what is told of one stretch

_VERSION = 1  # of the words below: another one makes other checkpoints

_MAP = """\
You are given one stretch of a longer video: video {number}, from {start} to {end}{of}. Somebody \
asks about the whole video:

{prompt}

Do not answer that yet. Write down what this stretch shows, says or reads that may matter for the \
answer, with the exact time of each fact. {times}
Answer with JSON alone, no code fence, in this form:
{{"relevant": true, "facts": [{{"time": "{start}", "fact": "..."}}]}}
If nothing in it matters: {{"relevant": false, "facts": []}}"""

_CUT = "Times are those of the whole video: second 0 of what you are given is {start} of it."
_AS_TOLD = "Times are those of the whole video."

_REDUCE = """\
{prompt}

The video was too long to be looked at in one go. Below is what was found in it, stretch by \
stretch, with times of the whole video{stills}. Answer from that, as if you had seen the video \
yourself; do not mention stretches.

{found}"""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch that was asked about: `text` is what was told of it."""

    span: Span
    text: str
    usage: Usage


def label(span: Span) -> str:
    """05:00-10:00"""
    return f"{clock(span.start)}-{'the end' if math.isinf(span.end) else clock(span.end)}"


def clock(seconds: float) -> str:
    """05:00, or 1:05:00; with hundredths where there are any."""
    whole, hundredths = divmod(round(seconds * 100), 100)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{minute:02}:{second:02}" + (f".{hundredths:02}" if hundredths else "")
    return f"{hours}:{text}" if hours else text


def name(asked: RouterRequest, route: Route, part: Plan, span: Span) -> str:
    """The digest of everything that determines what is told of `span`; `part` is its plan."""
    media = [getattr(medium, "sha256", "") for medium in part.basis.media]
    links = [link.url for link in part.basis.links]
    determines = {
        "version": _VERSION,
        "media": media,
        "links": links,
        "span": [span.index, span.start, str(span.end)],
        "provider": route.provider.name,
        "model": route.model,
        "prompt": asked.prompt,
        "system_prompt": asked.system_prompt,
        "view": asdict(asked.view),
        "options": [asked.effort, asked.temperature, asked.seed, asked.reasoning, asked.provider],
        "plan": plan.shown(part),
    }
    text = json.dumps(determines, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def question(asked: RouterRequest, span: Span, parts: Sequence[Part], seconds: float | None) -> str:
    """What is asked about one stretch. `seconds`: how long the whole video is."""
    start = clock(span.start)
    is_cut = any(
        (isinstance(part, FilePart) and (part.prepared or part.view.start))
        or (isinstance(part, LinkPart) and part.view.start)
        for part in parts
    )
    return _MAP.format(
        number=span.index + 1,
        start=start,
        end="the end" if math.isinf(span.end) else clock(span.end),
        of="" if seconds is None else f" of {clock(seconds)}",
        prompt=asked.prompt,
        times=_CUT.format(start=start) if is_cut and span.start else _AS_TOLD,
    )


def answer_from(asked: RouterRequest, segments: Sequence[Segment], *, has_stills: bool) -> str:
    """The question again, with all that was found."""
    stills = "; some stills of it are attached" if has_stills else ""
    found = "\n".join(json.dumps(_found(segment), ensure_ascii=False) for segment in segments)
    return _REDUCE.format(prompt=asked.prompt, stills=stills, found=found)


def facts(text: str) -> Any:
    """What was told of a stretch: JSON where it is some, in a code fence or not, else the text."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.removesuffix("```").partition("\n")[2].strip()
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return text.strip()


def _found(segment: Segment) -> dict[str, Any]:
    told = facts(segment.text)
    where = {"video": segment.span.index + 1, "stretch": label(segment.span)}
    if isinstance(told, Mapping) and "facts" in told:
        return {**where, "facts": told["facts"]}
    return {**where, "told": told}


# ---------------------------------------------------------------- kept


def checkpoint(name: str, segment: Segment) -> Checkpoint:
    usage = asdict(segment.usage)
    usage["cost"] = None if segment.usage.cost is None else str(segment.usage.cost)
    usage["by_modality"] = dict(segment.usage.by_modality)
    return Checkpoint(name, {"text": segment.text, "usage": usage})


def restored(body: Mapping[str, Any], span: Span) -> Segment:
    """What `checkpoint` made, back from its JSON."""
    usage = dict(body["usage"])
    cost = usage.pop("cost")
    return Segment(span, body["text"], Usage(cost=None if cost is None else Decimal(cost), **usage))


# ---------------------------------------------------------------- at once

Work = Callable[[], AsyncGenerator[Event, None]]


async def together(works: Sequence[Work], limit: int) -> AsyncGenerator[Event, None]:
    """The events of all `works` as they come, `limit` of them at once.

    None of them goes on before its event was dealt with. When one fails no other is begun, those
    under way come to their end (they are paid for), and then the first failure is raised. Closing
    it stops all of them.
    """
    said: asyncio.Queue[tuple[Event, asyncio.Event] | None] = asyncio.Queue()
    slots = asyncio.Semaphore(limit)
    failures: list[Exception] = []

    async def do(work: Work) -> None:
        try:
            async with slots:
                if failures:
                    return
                async with aclosing(work()) as events:
                    async for event in events:
                        is_dealt_with = asyncio.Event()
                        said.put_nowait((event, is_dealt_with))
                        await is_dealt_with.wait()
        except Exception as error:  # noqa: BLE001 -- it is raised below
            failures.append(error)
        finally:
            said.put_nowait(None)

    tasks = [asyncio.create_task(do(work), name="segment") for work in works]
    try:
        left = len(tasks)
        while left:
            item = await said.get()
            if item is None:
                left -= 1
                continue
            event, is_dealt_with = item
            yield event
            is_dealt_with.set()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[0]
