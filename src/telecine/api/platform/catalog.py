"""The endpoints that there are, and what they cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from telecine.api import auth, documents
from telecine.api.addressing import Address, address, header
from telecine.api.answers import page, reply, visible
from telecine.api.intake import read_object
from telecine.api.parts import Parts
from telecine.api.platform.asked import Asked, cursor_of, listed
from telecine.api.platform.bodies import parsed
from telecine.api.platform.reports import UNIT, Reports, known_endpoints
from telecine.endpoints import ENDPOINTS, Endpoint
from telecine.errors import NotFound

# Endpoints come with the program; they change when it does.
_SINCE = "2026-11-01T00:00:00Z"

_BILLED = {
    "unit_price": 1,  # a dollar of what the model's own provider asks for its tokens
    "unit": UNIT,
    "currency": "USD",
}


class Calls(BaseModel):
    call_quantity: int = Field(strict=True, ge=1, le=10**12)


class Units(BaseModel):
    unit_quantity: float = Field(strict=True, ge=1e-6, le=1e12, allow_inf_nan=False)


class HistoricalEstimate(BaseModel):
    estimate_type: Literal["historical_api_price"]
    endpoints: dict[str, Calls] = Field(min_length=1, max_length=50)


class UnitEstimate(BaseModel):
    estimate_type: Literal["unit_price"]
    endpoints: dict[str, Units] = Field(min_length=1, max_length=50)


class Catalog:
    def __init__(self, parts: Parts, guard: auth.Guard, reports: Reports) -> None:
        self._guard = guard
        self._reports = reports
        self._clock = parts.clock

    async def models(self, request: Request) -> Response:
        """For everybody; a key that is shown must be a good one."""
        has_key = bool(header(request.scope, b"authorization"))
        if has_key:
            await self._guard.check(request.scope)
        asked = Asked(request, self._clock())
        wanted = asked.choices("expand", ("openapi-3.0", "enterprise_status"))
        ids = known_endpoints(asked) or tuple(ENDPOINTS)
        category = asked.text("category")
        status = asked.choice("status", ("active", "deprecated"), "active")
        words = (asked.text("q") or "").lower().split()
        found = [
            endpoint
            for endpoint in map(ENDPOINTS.__getitem__, ids)
            if status == "active"
            and category in (None, endpoint.category)
            and all(word in _searched(endpoint) for word in words)
        ]
        (start,) = asked.cursor(int) or (0,)
        end = max(0, start) + asked.limit(default=50, most=100)
        at = address(request.scope)
        models = [_model(one, at, wanted, has_key=has_key) for one in found[max(0, start) : end]]
        return reply({"models": models, **page(cursor_of(end) if end < len(found) else None)})

    async def pricing(self, request: Request) -> Response:
        ids = known_endpoints(Asked(request, self._clock()), is_required=True)
        return reply({"prices": [{"endpoint_id": one, **_BILLED} for one in ids], **page(None)})

    async def estimate(self, request: Request) -> Response:
        """By units, of which one is a dollar; or by what calls cost in the last 30 days."""
        document = await read_object(request)
        cost = Decimal(0)
        if document.get("estimate_type") == "unit_price":
            by_units = parsed(UnitEstimate, document)
            _check_known(by_units.endpoints)
            cost = sum((Decimal(str(u.unit_quantity)) for u in by_units.endpoints.values()), cost)
        else:
            by_calls = parsed(HistoricalEstimate, document)
            _check_known(by_calls.endpoints)
            for endpoint, calls in by_calls.endpoints.items():
                cost += calls.call_quantity * await self._average(request, endpoint)
        return reply(
            {
                "estimate_type": document["estimate_type"],
                "total_cost": round(float(cost), 12),
                "currency": "USD",
            }
        )

    async def _average(self, request: Request, endpoint: str) -> Decimal:
        who = visible(request)
        keys = "" if who["is_admin"] else listed([who["key_id"]])
        average = await self._reports.average_cost(endpoint, keys)
        if average is None:
            raise NotFound(f"No call of {endpoint} in the last 30 days has a known cost to go by")
        return average

    async def meta(self, _request: Request) -> Response:
        """Webhooks come from this machine, wherever it stands: there are no ranges to tell."""
        return reply({"webhook_ip_ranges": []})


def _check_known(endpoints: dict[str, Any]) -> None:
    if unknown := [name for name in endpoints if name not in ENDPOINTS]:
        raise NotFound(f"There is no endpoint {unknown[0][:200]}")


def _searched(endpoint: Endpoint) -> str:
    return f"{endpoint.id} {endpoint.category} {endpoint.description}".lower()


def _model(
    endpoint: Endpoint, at: Address, wanted: frozenset[str], *, has_key: bool
) -> dict[str, Any]:
    url = f"{at.run}/{endpoint.id}"
    owner, _, alias = endpoint.app.partition("/")
    model: dict[str, Any] = {
        "endpoint_id": endpoint.id,
        "metadata": {
            "display_name": " ".join(endpoint.id.split("/")[1:]).title(),
            "category": endpoint.category,
            "description": endpoint.description,
            "status": "active",
            "tags": [],
            "updated_at": _SINCE,
            "is_favorited": False if has_key else None,
            "thumbnail_url": "",
            "model_url": url,
            "license_type": "commercial",
            "date": _SINCE,
            "group": {"key": f"{owner}-{alias}", "label": alias.title()},
            "highlighted": False,
            "kind": "inference",
            "stream_url": f"{url}/stream",
            "pinned": False,
        },
    }
    if "openapi-3.0" in wanted:
        model["openapi"] = documents.queue_document(endpoint, at)
    if "enterprise_status" in wanted:
        model["enterprise_status"] = "ready"
    return model
