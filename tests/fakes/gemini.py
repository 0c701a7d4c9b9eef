"""Gemini's adapter against the fake, with time that passes at once."""

import asyncio
import hashlib
import time
from contextlib import asynccontextmanager, contextmanager

from tests.fakes import upstream as fake

from telecine.errors import TelecineError
from telecine.models import Call, Delta, FilePart, Log, Usage, Video, View
from telecine.net import Client
from telecine.providers.gemini import Gemini

FLASH = "gemini-2.5-flash"


class Time:
    """A clock that starts now, as the fake's does, and that only `sleep` moves."""

    def __init__(self):
        self.now = time.time()
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def opened(upstream, *, key=fake.KEY, clock=None, base=None, **more):
    clock = clock or Time()
    async with Client(allow=[], proxy=None, connect_seconds=10, user_agent="tests") as client:
        gemini = Gemini(
            "gemini",
            client=client,
            base_url=base or f"{upstream.url}/gemini",
            api_key=key,
            clock=clock,
            sleep=clock.sleep,
            **more,
        )
        async with gemini:
            yield gemini


@contextmanager
def switched(upstream, switch):
    upstream.switches.switch = switch
    try:
        yield
    finally:
        upstream.switches.switch = ""


def clip(path, data=b"clip", index=0, **more):
    path.write_bytes(data)
    facts = {
        "index": index,
        "found": "data",
        "origin": "data URI",
        "loc": ("body", "video_urls", index),
        "path": path,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "container": "mp4",
        "mime": "video/mp4",
        "seconds": 2.5,
    }
    return Video(**(facts | more))


def call(*parts, model=FLASH, **more):
    made = tuple(FilePart(part, View()) if isinstance(part, Video) else part for part in parts)
    facts = {"request_id": "r-1", "model": model, "prompt": "What is in it?", "parts": made}
    return Call(**(facts | more))


async def heard(gemini, question):
    return [event async for event in gemini.generate(question)]


async def failed(gemini, question):
    """The events before the error, and the error."""
    events = []
    try:
        async for event in gemini.generate(question):
            events.append(event)  # noqa: PERF401 - those before the error count
    except TelecineError as error:
        return events, error
    raise AssertionError("it did not fail")


def text(events):
    return "".join(event.text for event in events if isinstance(event, Delta))


def logs(events):
    return [event.message for event in events if isinstance(event, Log)]


def usage(events):
    [found] = [event for event in events if isinstance(event, Usage)]
    return found
