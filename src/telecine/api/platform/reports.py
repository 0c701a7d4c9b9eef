"""What was used, what it cost, and how requests went, over time.

What a router request costs depends on the tokens of whatever model answers, so the unit that fal's
shapes ask for is the US dollar: `quantity` dollars at a `unit_price` of 1. Requests count where
they ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine.api.answers import page, reply, time_of, usd, visible
from telecine.api.parts import Parts
from telecine.api.platform import buckets
from telecine.api.platform.asked import DAY, MOST, Asked, Span, cursor_of, listed
from telecine.db.base import Operation, Row, Transaction
from telecine.endpoints import ENDPOINTS
from telecine.errors import BadRequest, NotFound

UNIT = "usd"
_LONGEST_BILL = 90 * DAY

_COUNTS = (
    *("request_count", "success_count", "user_error_count", "error_count"),
    *("startup_error_count", "connection_error_count", "timeout_error_count"),
    *("runtime_error_count", "total_billable_duration"),
)
# Statement -> what it tells.
_DURATIONS: Mapping[str, tuple[str, ...]] = {
    "analytics_prepare_durations": tuple(
        f"p{percent}_prepare_duration" for percent in (50, 75, 90, 95, 99)
    ),
    "analytics_durations": tuple(f"p{percent}_duration" for percent in (25, 50, 75, 90, 95, 99)),
}
# Nothing boots here.
_COLD = ("cold_boot_count", *(f"p{percent}_cold_boot_duration" for percent in (50, 75, 90)))
_METRICS = (*_COUNTS, *chain(*_DURATIONS.values()), *_COLD)


class Reports:
    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._keys = parts.keys
        self._clock = parts.clock

    # ------------------------------------------------------------ usage

    async def usage(self, request: Request) -> Response:
        asked = Asked(request, self._clock())
        wanted = asked.choices(
            "expand",
            ("time_series", "summary", "auth_method", "auth_method_structured"),
            ("time_series",),
        )
        _check_sections(wanted)
        is_by_key = bool(wanted & {"auth_method", "auth_method_structured"})
        values = {**_filters(asked), "by_key": int(is_by_key)}
        aliases = await self._aliases() if is_by_key else {}

        def shown(row: Row) -> dict[str, Any]:
            return _usage(row) | _auth_method(row["key_id"], aliases, wanted)

        async def between(tx: Transaction, span: Span) -> list[dict[str, Any]]:
            if asked.many("login_username"):  # nobody logs in here: keys do all
                return []
            rows = await tx.fetch("usage_between", start=span.start, end=span.end, **values)
            return [shown(row) for row in rows]

        series = _Series(asked, "usage_next", _filters(asked), between)
        return reply(await self._db.read(series.report(wanted)))

    # ------------------------------------------------------------ analytics

    async def analytics(self, request: Request) -> Response:
        asked = Asked(request, self._clock())
        wanted = asked.choices(
            "expand", ("time_series", "summary", *_METRICS), ("time_series", "request_count")
        )
        _check_sections(wanted)
        metrics = [name for name in _METRICS if name in wanted]
        if not metrics:
            raise BadRequest(f"expand: name one metric at least, of {', '.join(_METRICS)}")
        endpoints = known_endpoints(asked, is_required=True)
        values = {"endpoints": listed(endpoints), **visible(request)}

        async def between(tx: Transaction, span: Span) -> list[dict[str, Any]]:
            within = {"start": span.start, "end": span.end, **values}
            rows = await tx.fetch("analytics_counts", **within)
            durations: dict[str, dict[str, float]] = defaultdict(dict)
            for statement, names in _DURATIONS.items():
                if wanted.intersection(names):
                    for row in await tx.fetch(statement, **within):
                        durations[row["endpoint"]] |= {name: row[name] for name in names}
            return [_analytics(row, durations[row["endpoint"]], metrics) for row in rows]

        series = _Series(asked, "analytics_next", values, between)
        return reply(await self._db.read(series.report(wanted)))

    # ------------------------------------------------------------ money

    async def billing_events(self, request: Request) -> Response:
        asked = Asked(request, self._clock())
        span = asked.span()
        if span.end - span.start > _LONGEST_BILL:
            raise BadRequest("From start to end there may be 90 days at most")
        limit = asked.limit(default=50, most=10_000)
        before_at, before_id = asked.cursor(float, int) or (span.end, 0)
        wanted = asked.choices("expand", ("auth_method", "auth_method_structured"))
        values = {**_filters(asked), "requests": listed(asked.many("request_id"))}
        aliases = await self._aliases() if wanted else {}

        async def operation(tx: Transaction) -> list[Row]:
            if asked.many("login_username"):
                return []
            return await tx.fetch(
                "billing_events",
                start=span.start,
                before_at=before_at,
                before_id=before_id,
                limit=limit + 1,
                **values,
            )

        rows = await self._db.read(operation)
        last = rows[limit - 1] if len(rows) > limit else None
        return reply(
            {
                "billing_events": [
                    _billing_event(row) | _auth_method(row["key_id"], aliases, wanted)
                    for row in rows[:limit]
                ],
                **page(cursor_of(last["at"], last["id"]) if last else None),
            }
        )

    async def billing(self, request: Request) -> Response:
        """There is no balance: providers send their bills to the owner. What was spent is there."""
        asked = Asked(request, self._clock())
        wanted = asked.choices("expand", ("credits",))
        now = self._clock()

        async def operation(tx: Transaction) -> list[dict[str, Any]]:
            return [
                _spent(await tx.fetch("usage_between", start=start, end=MOST, **_ANY))
                for start in (0.0, now - 30 * DAY)
            ]

        total, recent = await self._db.read(operation)
        answer: dict[str, Any] = {"username": "owner"}
        if "credits" in wanted:
            answer["credits"] = {"current_balance": 0, "currency": "USD"}
        return reply(answer | {"spent": total, "spent_in_30_days": recent})

    async def average_cost(self, endpoint: str, keys: str) -> Decimal | None:
        """Of one call in the last 30 days whose cost is known."""
        now = self._clock()
        values = {**_ANY, "endpoints": listed([endpoint]), "keys": keys}
        rows = await self._db.read(
            lambda tx: tx.fetch("usage_between", start=now - 30 * DAY, end=MOST, **values)
        )
        known = sum(row["calls"] - row["unknown"] for row in rows)
        return _cost(rows) / known if known else None

    async def _aliases(self) -> dict[str, str]:
        return {key.key_id: key.alias for key in await self._keys.list()}


class _Series:
    """What `between` finds in a span, slice by slice, as far as one page goes; empty slices are
    left out, and cost nothing but a look at the index."""

    def __init__(
        self,
        asked: Asked,
        first: str,
        values: Mapping[str, Any],
        between: Callable[[Transaction, Span], Any],
    ) -> None:
        span = asked.span()
        timeframe = asked.choice("timeframe", buckets.TIMEFRAMES) or buckets.timeframe_for(span)
        if asked.choice("bound_to_timeframe", ("true", "false"), "true") == "true":
            span = buckets.whole(span, timeframe)
        self._limit = asked.limit(default=200, most=1000)
        next_at = span.start
        if goes_on := asked.cursor(str, float, float, float):
            timeframe, next_at, start, end = goes_on
            span = Span(start, end, span.zone)
        self._timeframe: str = timeframe
        self._next_at: float = max(next_at, span.start)
        self._span = span
        self._first = first
        self._values = values
        self._between = between

    def report(self, wanted: frozenset[str]) -> Operation[dict[str, Any]]:
        async def operation(tx: Transaction) -> dict[str, Any]:
            answer: dict[str, Any] = {}
            cursor = None
            if "time_series" in wanted:
                answer["time_series"], cursor = await self._slices(tx)
            if "summary" in wanted:
                answer["summary"] = await self._between(tx, self._span)
            return answer | page(cursor)

        return operation

    async def _slices(self, tx: Transaction) -> tuple[list[dict[str, Any]], str | None]:
        slices: list[dict[str, Any]] = []
        start, end, zone = self._span.start, self._span.end, self._span.zone
        at = self._next_at
        while row := await tx.fetch_one(self._first, start=at, end=end, **self._values):
            if len(slices) == self._limit:
                return slices, cursor_of(self._timeframe, at, start, end)
            began = buckets.begin(row["at"], self._timeframe, zone)
            at = buckets.end(row["at"], self._timeframe, zone)
            results = await self._between(tx, Span(max(began, start), min(at, end), zone))
            if results:
                slices.append({"bucket": buckets.shown(began, zone), "results": results})
        return slices, None


def known_endpoints(asked: Asked, *, is_required: bool = False) -> tuple[str, ...]:
    """Raises BadRequest where there must be one, and NotFound."""
    endpoints = asked.many("endpoint_id")
    if is_required and not endpoints:
        raise BadRequest("endpoint_id: give one at least")
    if unknown := [name for name in endpoints if name not in ENDPOINTS]:
        raise NotFound(f"There is no endpoint {unknown[0]}")
    return endpoints


_ANY: Mapping[str, Any] = {"endpoints": "", "keys": "", "by_key": 0}


def _filters(asked: Asked) -> dict[str, str]:
    return {
        "endpoints": listed(known_endpoints(asked)),
        "keys": listed(asked.many("api_key_id")),
    }


def _check_sections(wanted: frozenset[str]) -> None:
    if not wanted & {"time_series", "summary"}:
        raise BadRequest("expand: name time_series, summary or both")


def _usage(row: Row) -> dict[str, Any]:
    cost = usd(row["cost"])
    return {
        "endpoint_id": row["endpoint"],
        "unit": UNIT,
        "quantity": cost,
        "unit_price": 1,
        "percent_discount": None,
        "cost_subtotal": cost,
        "cost_discount": 0,
        "cost_total": cost,
        "cost": cost,
        "currency": "USD",
        "call_count": row["calls"],
        "unknown_cost_count": row["unknown"],
    }


def _cost(rows: Sequence[Row]) -> Decimal:
    return sum((Decimal(row["cost"] or 0) for row in rows), Decimal(0))


def _spent(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "cost": usd(_cost(rows)),
        "currency": "USD",
        "call_count": sum(row["calls"] for row in rows),
        "unknown_cost_count": sum(row["unknown"] for row in rows),
    }


def _analytics(row: Row, durations: Mapping[str, float], metrics: list[str]) -> dict[str, Any]:
    measured = dict.fromkeys(_COLD, 0) | {name: row[name] for name in _COUNTS}
    measured["total_billable_duration"] = round(max(0.0, row["total_billable_duration"]), 6)
    measured |= {name: round(max(0.0, seconds), 6) for name, seconds in durations.items()}
    shown = {name: measured[name] for name in metrics if name in measured}
    return {"endpoint_id": row["endpoint"], **shown}


def _billing_event(row: Row) -> dict[str, Any]:
    """A cost that nobody knows is no units; fal's shape wants a number for the rest."""
    cost = Decimal(row["cost"] or 0)
    known = None if row["cost"] is None else float(cost)
    return {
        "request_id": row["request_id"],
        "endpoint_id": row["endpoint"],
        "timestamp": time_of(row["at"]),
        "output_units": known,
        "unit_price": None if known is None else 1,
        "percent_discount": None,
        "cost_subtotal": float(cost),
        "cost_discount": 0,
        "cost_total": float(cost),
        "cost_estimate_nano_usd": float(cost * 10**9),
    }


def _auth_method(key_id: str, aliases: Mapping[str, str], wanted: frozenset[str]) -> dict[str, Any]:
    label = aliases.get(key_id) or key_id
    shown: dict[str, Any] = {}
    if "auth_method" in wanted:
        shown["auth_method"] = label
    if "auth_method_structured" in wanted:
        shown["auth_method_structured"] = {"detail": label, "api_key_id": key_id}
    return shown
