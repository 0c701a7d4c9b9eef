"""Every part of the fake on one address."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from telecine.fake.admin import Admin
from telecine.fake.anthropic import Anthropic
from telecine.fake.conversations import Conversations
from telecine.fake.gemini import Gemini
from telecine.fake.media import Media
from telecine.fake.openrouter import Accounts
from telecine.fake.record import Record
from telecine.fake.script import WIRE, is_delay


class Part(Protocol):
    """A part of the fake: made with the Record, it says what it answers, and which switches it has
    beside those that change how an answer is sent: name and sentence."""

    def routes(self) -> Sequence[web.AbstractRouteDef]: ...

    def switches(self) -> Mapping[str, str]: ...


def parts(record: Record) -> list[Part]:
    """All that speak to clients; what tests ask comes besides."""
    return [Conversations(record), Accounts(record), Anthropic(record), Gemini(record), Media()]


def application(record: Record) -> web.Application:
    """The fake, ready to be served."""
    mounted = parts(record)
    app = web.Application(client_max_size=1 << 40)
    for part in mounted:
        app.add_routes(part.routes())
    app.add_routes(Admin(record, known=is_switch).routes())
    return app


def is_switch(name: str) -> bool:
    """Whether some part has it. One that is listed as `NAME-N` has any number there."""
    if name in WIRE or is_delay(name) or (name.isdecimal() and 400 <= int(name) < 600):
        return True
    listed = re.sub(r"-\d+$", "-N", name)
    return any({name, listed} & part.switches().keys() for part in parts(Record()))


@asynccontextmanager
async def serving(record: Record, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """The fake, listening; gives its address. Raises OSError where it can not."""
    runner = web.AppRunner(application(record), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
