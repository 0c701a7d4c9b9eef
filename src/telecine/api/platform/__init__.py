"""fal's Platform API below /v1: what makes sense of it for one owner (fal-protocol 19).

A key sees its own requests, one with the scope ADMIN sees all. What fal offers and this server
does not is answered with 501. Failures have a shape of their own here: `failures.py`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, request_response
from starlette.types import ASGIApp

from telecine.api import auth
from telecine.api.auth import Guard
from telecine.api.parts import Parts
from telecine.api.platform.catalog import Catalog
from telecine.api.platform.failures import NotOffered
from telecine.api.platform.keys import KeyCalls
from telecine.api.platform.reports import Reports
from telecine.api.platform.requests import Requests
from telecine.api.platform.storage import StorageCalls


def routes(parts: Parts, guard: Guard) -> list[BaseRoute]:
    reports = Reports(parts)
    catalog = Catalog(parts, guard, reports)
    requests, keys, storage = Requests(parts), KeyCalls(parts), StorageCalls(parts)

    def keyed(handler: Any) -> ASGIApp:
        return guard(request_response(handler))

    def admin(handler: Any) -> ASGIApp:
        return guard(auth.admin(request_response(handler)))

    return [
        Route("/v1/meta", catalog.meta, methods=["GET"]),
        Route("/v1/models", catalog.models, methods=["GET"]),
        Route("/v1/models/pricing", keyed(catalog.pricing), methods=["GET"]),
        Route("/v1/models/pricing/estimate", keyed(catalog.estimate), methods=["POST"]),
        Route("/v1/models/usage", admin(reports.usage), methods=["GET"]),
        Route("/v1/models/analytics", keyed(reports.analytics), methods=["GET"]),
        Route("/v1/models/billing-events", admin(reports.billing_events), methods=["GET"]),
        Route("/v1/models/requests/by-endpoint", keyed(requests.by_endpoint), methods=["GET"]),
        Route(
            "/v1/models/requests/{request_id}/payloads",
            admin(requests.delete_payloads),
            methods=["DELETE"],
        ),
        Route("/v1/keys", admin(keys.list), methods=["GET"]),
        Route("/v1/keys", admin(keys.create), methods=["POST"]),
        Route("/v1/keys/{key_id}", admin(keys.delete), methods=["DELETE"]),
        Route("/v1/account/billing", admin(reports.billing), methods=["GET"]),
        Route("/v1/storage/files/acl", keyed(storage.acl), methods=["GET"]),
        Route("/v1/storage/files/acl", keyed(storage.set_acl), methods=["PUT"]),
        Route("/v1/storage/files/sign", keyed(storage.sign), methods=["POST"]),
        Route("/v1/storage/settings", keyed(storage.settings), methods=["GET"]),
        Route("/v1/storage/settings", keyed(storage.set_settings), methods=["PUT"]),
        *(Route(path, keyed(_not_offered)) for path in _NOT_OFFERED),
    ]


_NOT_OFFERED = (
    "/v1/models/requests/search",
    "/v1/account/focus",
    "/v1/account/model-access-controls",
    *(
        path
        for area in ("assets", "compute", "organization", "serverless", "workflows")
        for path in (f"/v1/{area}", f"/v1/{area}/{{rest:path}}")
    ),
)


async def _not_offered(request: Request) -> Response:
    raise NotOffered(f"This server does not offer {request.scope['path'][:200]}")
