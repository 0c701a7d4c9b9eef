"""All of it, open: what leads one program to Telecine."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.types import ASGIApp

from telecine import __version__
from telecine.certificates import Authority
from telecine.intercept.gateway import DOMAINS, Gateway, OnCall, Outside
from telecine.intercept.program import environment
from telecine.intercept.proxy import Proxy, ends
from telecine.intercept.wayout import WayOut
from telecine.net import Client

_DAYS = 365  # a program may run for long; the key is gone when it ends


@asynccontextmanager
async def opened(
    telecine: ASGIApp,
    *,
    key: str | None,
    is_only_fal: bool,
    given: Mapping[str, str],
    on_call: OnCall,
) -> AsyncIterator[dict[str, str]]:
    """The environment of a program whose calls to fal `telecine` answers, asked with `key`.

    It is `given`, changed, and holds while the block lasts. `is_only_fal`: other hosts are refused.
    """
    authority = Authority("telecine exec, for this run", days=_DAYS, domains=DOMAINS)
    names = [name for domain in DOMAINS for name in (domain, f"*.{domain}")]
    context = authority.issue([*names, "rest.alpha.fal.ai"]).context()
    way_out = None if is_only_fal else WayOut()
    client = Client(allow=(), proxy=None, connect_seconds=30, user_agent=f"telecine/{__version__}")
    with tempfile.TemporaryDirectory(prefix="telecine-") as path:
        folder = Path(path)
        async with client:
            outside = Outside(client.trusted(), way_out) if way_out else None
            gateway = Gateway(telecine, key=key, outside=outside, on_call=on_call)
            async with (
                ends(gateway, context, folder),
                Proxy(folder, way_out=way_out, on_call=on_call) as proxy,
            ):
                yield environment(
                    given,
                    proxy_url=proxy.url,
                    certificate=authority.certificate,
                    folder=folder,
                    is_only_fal=is_only_fal,
                )
