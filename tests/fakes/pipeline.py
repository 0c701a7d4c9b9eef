"""The pipeline on real files and a real decoder pool, in front of providers that do as they are told."""

import contextlib
import hashlib
import itertools
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

from telecine.errors import TelecineError
from telecine.inference import Inference
from telecine.media.pool import Pool
from telecine.media.prepare import Preparer
from telecine.media.sources import Sources
from telecine.media.spool import Spool
from telecine.models import (
    Attachment,
    Bill,
    Caller,
    Capabilities,
    Checkpoint,
    Delta,
    Log,
    Receipt,
    Request,
    Upstream,
    Usage,
)
from telecine.net import Client
from telecine.providers.registry import Registry
from telecine.storage.local import LocalStorage

DATA = Path(__file__).parents[1] / "data"
CLIP = DATA / "jfk_slides.mp4"
ENDPOINT = "openrouter/router/video"


class Scripted:
    """A provider. `script` is taken from the front, one entry a call: an error that is raised, or
    the events of the answer; when it is empty, `answers`. `calls` are those that were made."""

    def __init__(self, name="p", script=(), *, capabilities=None, price=None, answers=None):
        self.name = name
        self.script = list(script)
        self.calls = []
        self.told = capabilities or Capabilities(delivery=("file",))
        self.listed = price
        self.answers = answers or (lambda call: answer(call.prompt))
        self._ids = itertools.count(1)

    async def capabilities(self, model):
        return self.told

    async def price(self, model):
        return self.listed

    async def models(self):
        return []

    async def generate(self, call):
        self.calls.append(call)
        found = self.script.pop(0) if self.script else self.answers(call)
        if isinstance(found, Exception):
            raise found
        yield Upstream(id=f"{self.name}-{next(self._ids)}", finish_reason="stop")
        for event in found:
            if isinstance(event, Exception):
                raise event
            yield event


class Settling(Scripted):
    """One that can be asked later: `bills` by the id of the call; None until it knows."""

    def __init__(self, *args, bills=None, **more):
        super().__init__(*args, **more)
        self.bills = bills or {}
        self.asked = []

    async def settle(self, upstream_id):
        self.asked.append(upstream_id)
        found = self.bills.get(upstream_id)
        if isinstance(found, list):
            found = found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def usage(prompt=270, completion=2, cost=None, **by_modality):
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cost=None if cost is None else Decimal(cost),
        cost_source="unknown" if cost is None else "billed",
        by_modality=by_modality,
    )


def answer(text="A cat.", told=None):
    half = len(text) // 2
    told = told or usage(video=258, text=12)
    return [*(Delta(piece) for piece in (text[:half], text[half:]) if piece), told]


def request(prompt="What?", *clips, model="p/m", mode="run", attempt=1, checkpoints=None, **more):
    """Its videos come as files of the caller's own."""
    clips = clips or (CLIP,)
    attachments = {
        f"file:{n}": Attachment(
            content_type="video/mp4",
            found="path",
            origin=clip.name,
            bytes=clip.stat().st_size,
            sha256=hashlib.sha256(clip.read_bytes()).hexdigest(),
            path=clip,
        )
        for n, clip in enumerate(clips)
    }
    return Request(
        id="00000000-0000-4000-8000-000000000000",
        endpoint=ENDPOINT,
        mode=mode,
        caller=Caller("key"),
        document={"prompt": prompt, "model": model, "video_urls": list(attachments), **more},
        attachments=attachments,
        attempt=attempt,
        checkpoints=checkpoints or {},
    )


@dataclass
class Ran:
    """What a run came to."""

    events: list = field(default_factory=list)
    error: TelecineError | None = None

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self):
        return "".join(event.text for event in self.of(Delta))

    @property
    def logs(self):
        return [event.message for event in self.of(Log)]

    @property
    def bills(self):
        return [bill for bill in self.of(Bill) if bill.usage is not None]

    @property
    def checkpoints(self):
        return {kept.name: kept.body for kept in self.of(Checkpoint)}

    @property
    def usage(self):
        return self.of(Usage)[-1]

    @property
    def receipt(self):
        return self.of(Receipt)[-1].body


async def ran(inference, request):
    found = Ran()
    try:
        async for event in inference.run(request):
            found.events.append(event)
    except TelecineError as error:
        found.error = error
    return found


@contextlib.asynccontextmanager
async def opened(folder, *providers, aliases=None, **options):
    """An Inference."""

    async def no_file(_url, _request):
        return None

    async with (
        Client(
            allow=[ip_network("127.0.0.0/8")], proxy=None, connect_seconds=5, user_agent="test"
        ) as client,
        Spool(folder / "spool", max_bytes_per_key=10**9, max_file_bytes=10**9) as spool,
        Pool(size=1, memory_bytes=2 * 1024**3, cpu_seconds=60) as pool,
        LocalStorage(folder / "objects") as storage,
    ):
        sources = Sources(
            client=client,
            spool=spool,
            pool=pool,
            storage=storage,
            own_file=no_file,
            max_bytes=10**9,
            max_seconds=60,
            max_redirects=3,
        )
        registry = Registry({provider.name: provider for provider in providers}, aliases or {})
        yield Inference(registry=registry, sources=sources, preparer=Preparer(pool), **options)
