"""A provider that needs nothing and always says the same: for tests, ours and users'.

    echo            the prompt, then a line per video, image, sound file and document
    wait-S          the same after S seconds, with progress in the logs
    log-N           the same after N log lines
    count-N         the numbers 1 to N, one delta each
    count-N-wait-S  ... spread over S seconds
    fail-STATUS     fails as an upstream does with that HTTP status
    fail-after-N-STATUS  ... after N words of the answer

Parts combine in any order: wait-2-log-5-fail-503.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Self

from telecine.errors import ProviderRejected
from telecine.models import (
    AUDIO_FORMATS,
    IMAGE_FORMATS,
    Audio,
    Call,
    Capabilities,
    Delta,
    Image,
    LinkPart,
    Log,
    Part,
    Pdf,
    ProviderEvent,
    Upstream,
    Usage,
    Video,
)
from telecine.providers import failures
from telecine.providers.base import Health, Model
from telecine.providers.catalog import FREE, Price
from telecine.providers.failures import Failure

_STEP = re.compile(
    r"wait-(?P<wait>\d{1,6}(?:\.\d{1,6})?)"
    r"|log-(?P<log>\d{1,6})"
    r"|count-(?P<count>\d{1,7})"
    r"|fail-after-(?P<after>\d{1,7})-(?P<late>[3-5]\d\d)"
    r"|fail-(?P<fail>[3-5]\d\d)"
)
_FORMS = "echo, wait-S, log-N, count-N, fail-STATUS, fail-after-N-STATUS, or several joined by '-'"
# Often enough that others get their turn, rarely enough to cost nothing.
_DELTAS_PER_TURN = 4


@dataclass(frozen=True, slots=True)
class _Script:
    """What a model's name asks for."""

    wait: float = 0.0
    log: int = 0
    count: int | None = None
    status: int | None = None
    after: int = 0


class Echo:
    def __init__(self, name: str) -> None:
        self.name = name

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
        self._script(model)
        return Capabilities(
            delivery=("file", "link"), images=IMAGE_FORMATS, audio=AUDIO_FORMATS, pdfs=True
        )

    async def generate(self, call: Call) -> AsyncGenerator[ProviderEvent, None]:
        script = self._script(call.model)
        upstream_id = f"echo-{call.request_id}"
        yield Upstream(id=upstream_id, model=call.model, provider=self.name)
        for number in range(script.log):
            yield Log(f"line {number + 1} of {script.log}")
        if script.count is None:
            async for log in _wait(script.wait):
                yield log
        words = 0
        async for text in _paced(_pieces(call, script), script):
            yield Delta(text)
            words += len(text.split())
        if script.status is not None:
            raise failures.error(
                _failure(script.status),
                call,
                provider=self.name,
                upstream_id=upstream_id,
                has_begun=words > 0,
            )
        yield _usage(call, words)
        yield Upstream(id=upstream_id, model=call.model, provider=self.name, finish_reason="stop")

    async def price(self, model: str) -> Price | None:
        return FREE

    async def models(self) -> list[Model]:
        return [
            Model(
                id="echo",
                name="Echo",
                input_modalities=("text", "image", "file", "audio", "video"),
                price_prompt="0",
                price_completion="0",
                description="Repeats the prompt and says what it was given.",
            )
        ]

    async def check(self) -> Health:
        return Health(is_ok=True, says="always answers")

    def _script(self, model: str) -> _Script:
        """Raises ProviderRejected."""
        if model == "echo":
            return _Script()
        found: dict[str, str] = {}
        place = 0
        while (step := _STEP.match(model, place)) is not None:
            found |= {name: text for name, text in step.groupdict().items() if text is not None}
            place = step.end()
            if place == len(model):
                status = found.get("fail", found.get("late"))
                return _Script(
                    wait=float(found.get("wait", 0)),
                    log=int(found.get("log", 0)),
                    count=int(found["count"]) if "count" in found else None,
                    status=int(status) if status else None,
                    after=int(found.get("after", 0)),
                )
            if model[place] != "-":
                break
            place += 1
        raise ProviderRejected(
            f"{self.name} has no model {model!r}; it has {_FORMS}",
            loc=("body", "model"),
            provider=self.name,
            upstream_status=404,
        )


def _failure(status: int) -> Failure:
    kind = "content_policy_violation" if status == 403 else ""
    return Failure(status=status, kind=kind, message="as the model's name asked for")


def _pieces(call: Call, script: _Script) -> Iterator[str]:
    """The answer, a delta at a time; a failure cuts it."""
    if script.status is not None and script.count is None:
        return _count(script.after)
    if script.status is not None:
        return _count(min(script.after, script.count or 0))
    return _count(script.count) if script.count is not None else _echo(call)


def _count(words: int) -> Iterator[str]:
    return (str(n) if n == 1 else f" {n}" for n in range(1, words + 1))


def _echo(call: Call) -> Iterator[str]:
    yield call.prompt
    numbers: dict[str, int] = {}
    for part in call.parts:
        kind = _kind(part)
        numbers[kind] = numbers.get(kind, 0) + 1
        yield f"\n{kind} {numbers[kind]}: {_describe(part)}"


def _kind(part: Part) -> str:
    if isinstance(part, LinkPart):
        return "video"
    match part.media:
        case Image():
            return "image"
        case Audio():
            return "audio"
        case Pdf():
            return "document"
    return "video"


def _describe(part: Part) -> str:
    if isinstance(part, LinkPart):
        return f"link={part.url}"
    media = part.media
    said = f"sha256={media.sha256} bytes={media.bytes}"
    match media:
        case Video():
            return f"{said} {_length(media.seconds)} container={media.container}"
        case Image():
            return f"{said} width={media.width} height={media.height}"
        case Audio():
            return f"{said} {_length(media.seconds)}"
    return said


def _length(seconds: float | None) -> str:
    return "seconds=unknown" if seconds is None else f"seconds={seconds:.3f}"


async def _wait(seconds: float) -> AsyncGenerator[Log, None]:
    """At most ten lines, at most one a second, the last when it is over."""
    steps = max(1, min(10, int(seconds))) if seconds else 0
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds / steps)
        yield Log(f"waited {seconds * step / steps:g} of {seconds:g} s")


async def _paced(pieces: Iterator[str], script: _Script) -> AsyncGenerator[str, None]:
    """`pieces`, over the seconds that the script says when it counts, else at once."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    pause = script.wait / script.count if script.count else 0.0
    for number, piece in enumerate(pieces, 1):
        if pause:
            await asyncio.sleep(max(0.0, begun + number * pause - loop.time()))
        elif number % _DELTAS_PER_TURN == 0:
            await asyncio.sleep(0)
        yield piece


def _usage(call: Call, words: int) -> Usage:
    """A token is a word, a second of video or sound (at least one: it was seen), or an image."""
    by_modality = {"text": len(f"{call.system_prompt or ''} {call.prompt}".split())}
    for part in call.parts:
        kind = _kind(part)
        by_modality[kind] = by_modality.get(kind, 0) + _tokens(part)
    given = sum(by_modality.values())
    return Usage(
        prompt_tokens=given,
        completion_tokens=words,
        total_tokens=given + words,
        cost=Decimal(0),
        cost_source="free",
        by_modality=by_modality,
    )


def _tokens(part: Part) -> int:
    media = None if isinstance(part, LinkPart) else part.media
    return max(1, math.floor(media.seconds or 0)) if isinstance(media, Video | Audio) else 1
