"""What the pages show besides, below /telecine/v1/: requests, usage, files, providers.

A key sees and changes what is its own, one with the scope ADMIN everything. What is changed here is
in the audit log.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route, request_response
from starlette.types import ASGIApp

from telecine.api.auth import Guard
from telecine.api.console.files import FileCalls
from telecine.api.console.providers import ProviderCalls
from telecine.api.console.requests import RequestCalls
from telecine.api.console.usage import UsageCalls
from telecine.api.parts import Parts


def routes(parts: Parts, guard: Guard) -> list[Route]:
    requests, files = RequestCalls(parts), FileCalls(parts)
    usage, providers = UsageCalls(parts), ProviderCalls(parts)
    base = "/telecine/v1"
    one = f"{base}/requests/{{id}}"

    def keyed(handler: Any) -> ASGIApp:
        return guard(request_response(handler))

    return [
        Route(f"{base}/requests", keyed(requests.page), methods=["GET"]),
        Route(f"{base}/requests/changes", keyed(requests.changes), methods=["GET"]),
        Route(f"{one}/replay", keyed(requests.replay), methods=["POST"]),
        Route(f"{one}/cancel", keyed(requests.cancel), methods=["POST"]),
        Route(f"{one}/payload", keyed(requests.delete_payload), methods=["DELETE"]),
        Route(f"{base}/usage", keyed(usage.usage), methods=["GET"]),
        Route(f"{base}/files", keyed(files.page), methods=["GET"]),
        Route(f"{base}/files/{{id}}", keyed(files.delete), methods=["DELETE"]),
        Route(f"{base}/providers", keyed(providers.list), methods=["GET"]),
    ]
