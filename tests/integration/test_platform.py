"""fal's Platform API in process: real keys, files, database, queue and worker."""

import hashlib
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.asgi import Browser
from tests.fakes.gateway import AT, serving
from tests.fakes.jobs import request

from telecine.api.platform import requests as platform_requests
from telecine.db.sqlite import read_statements
from telecine.endpoints import ENDPOINTS
from telecine.models import Attachment, Usage

EP = "openrouter/router/video"
ENTERPRISE = "openrouter/router/video/enterprise"
NOBODYS = "0a6f3c52-7c6b-4a1e-9d0e-4f9be2c7a111"  # a request that there is not
TYPES = {
    *("authorization_error", "validation_error", "not_found", "rate_limited"),
    *("server_error", "not_implemented"),
}


@pytest.fixture
def serve_sqlite(run, tmp_path):
    """For what only SQLite promises, or tells."""
    return serving(run, tmp_path)


async def ended(
    server,
    *,
    key=None,
    endpoint=EP,
    code=200,
    error_type=None,
    at=AT - 1,
    waited=1.0,
    ran=2.0,
    input='{"prompt":"p"}',
    output='{"output":"o"}',
):
    """A request that ended at `at`, as a row."""
    request_id = str(uuid4())

    async def operation(tx):
        await tx.execute(
            "insert_request",
            lane="",
            node="",
            id=request_id,
            endpoint=endpoint,
            mode="queue",
            key_id=key or server.plain.key_id,
            model="m",
            state="running",
            priority=0,
            attempt=1,
            start_by=None,
            no_retry=0,
            store_io=1,
            input=input,
            attachments="{}",
            webhook_url=None,
            created_at=at - waited - ran,
            started_at=at - ran,
            idempotency_key=None,
        )
        await tx.fetch(
            "finish_request",
            id=request_id,
            attempt=1,
            now=at,
            state="succeeded" if code < 400 else "failed",
            result_status=code,
            result_headers="{}",
            result_body=output,
            error=None,
            error_type=error_type,
            receipt="{}",
            inference_seconds=ran,
            keep_seconds=1000,
            brief_seconds=1,
        )

    await server.house.db.write(operation)
    return request_id


async def billed(server, cost, *, key=None, endpoint=EP, at=AT - 1, request_id=None):
    """A ledger entry; `cost` is decimal text, or None where nobody knows it."""

    async def operation(tx):
        await tx.execute(
            "insert_ledger_entry",
            call_id=uuid4().hex,
            request_id=request_id or str(uuid4()),
            attempt=1,
            key_id=key or server.plain.key_id,
            endpoint=endpoint,
            mode="queue",
            provider="p",
            model="m",
            at=at,
            prompt_tokens=1,
            completion_tokens=1,
            total_tokens=2,
            cost=cost,
            cost_source="unknown" if cost is None else "billed",
            upstream_id=None,
            price_source=None,
            settle_at=None,
        )

    await server.house.db.write(operation)


async def every_page(call, path, name):
    """The items of all pages."""
    items, cursor = [], ""
    while True:
        answer = await call("GET", f"{path}{cursor}")
        assert answer.status == 200, answer.body
        items += answer.json[name]
        assert answer.json["has_more"] is (answer.json["next_cursor"] is not None)
        if not answer.json["has_more"]:
            return items
        cursor = f"&cursor={answer.json['next_cursor']}"


# ---------------------------------------------------------------- models


def test_the_catalog_is_for_everybody_and_names_every_endpoint(serve):
    answer = serve(lambda server: server.stranger("GET", "/v1/models"))
    assert answer.status == 200
    assert [model["endpoint_id"] for model in answer.json["models"]] == list(ENDPOINTS)
    assert (answer.json["next_cursor"], answer.json["has_more"]) == (None, False)
    assert answer.json["models"][0]["metadata"]["is_favorited"] is None


def test_one_endpoint_comes_with_all_that_fal_says_of_one(serve):
    path = f"/v1/models?endpoint_id={EP}&expand=openapi-3.0,enterprise_status"
    answer = serve(lambda server: server.call("GET", path, host="api.fal.ai"))
    (model,) = answer.json["models"]
    metadata = model["metadata"]
    assert model["endpoint_id"] == EP
    assert model["enterprise_status"] == "ready"
    assert metadata["model_url"] == f"https://fal.run/{EP}"
    assert metadata["stream_url"] == f"https://fal.run/{EP}/stream"
    assert (metadata["category"], metadata["status"]) == ("video-to-text", "active")
    assert metadata["is_favorited"] is False
    for name in ("display_name", "description", "tags", "updated_at", "thumbnail_url", "date"):
        assert name in metadata
    assert model["openapi"]["openapi"] == "3.0.4"
    assert model["openapi"]["servers"] == [{"url": "https://queue.fal.run"}]
    assert f"/{EP}" in model["openapi"]["paths"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("category=video-to-text", {EP, ENTERPRISE}),
        ("q=VIDEO%20enterprise", {ENTERPRISE}),
        ("q=elephants", set()),
        ("status=deprecated", set()),
        (f"endpoint_id={EP}&q=enterprise", set()),
        (f"endpoint_id={EP},{ENTERPRISE}", {EP, ENTERPRISE}),
        (f"endpoint_id={EP}&endpoint_id={ENTERPRISE}", {EP, ENTERPRISE}),
    ],
)
def test_models_are_searched_and_filtered(serve, query, found):
    answer = serve(lambda server: server.stranger("GET", f"/v1/models?{query}"))
    assert {model["endpoint_id"] for model in answer.json["models"]} == found


def test_models_come_in_pages(serve):
    async def test(server):
        return await every_page(server.stranger, "/v1/models?limit=1", "models")

    assert [model["endpoint_id"] for model in serve(test)] == list(ENDPOINTS)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("endpoint_id=a/b", 404),
        ("endpoint_id=", 400),
        ("endpoint_id=" + ",".join(f"a/{number}" for number in range(51)), 400),
        ("limit=0", 400),
        ("limit=x", 400),
        ("cursor=%00", 400),
        ("cursor=WzFlNDAwXQ==", 400),
        ("status=new", 400),
        ("expand=everything", 400),
    ],
)
def test_what_models_cannot_be_asked(serve, query, status):
    answer = serve(lambda server: server.stranger("GET", f"/v1/models?{query}"))
    assert answer.status == status
    assert answer.json["error"]["type"] in ("validation_error", "not_found")


def test_a_bad_key_is_refused_even_where_none_is_needed(serve):
    async def test(server):
        return await Browser(server.app, key="no:body")("GET", "/v1/models")

    assert serve(test).status == 401


# ---------------------------------------------------------------- prices


def test_a_dollar_of_model_usage_costs_a_dollar(serve):
    answer = serve(lambda server: server.call("GET", f"/v1/models/pricing?endpoint_id={EP}"))
    assert answer.json == {
        "prices": [{"endpoint_id": EP, "unit_price": 1, "unit": "usd", "currency": "USD"}],
        "next_cursor": None,
        "has_more": False,
    }


def test_units_are_estimated_by_their_price(serve):
    body = {
        "estimate_type": "unit_price",
        "endpoints": {EP: {"unit_quantity": 0.1}, ENTERPRISE: {"unit_quantity": 0.2}},
    }
    answer = serve(lambda server: server.call("POST", "/v1/models/pricing/estimate", body))
    assert answer.json == {"estimate_type": "unit_price", "total_cost": 0.3, "currency": "USD"}


def test_calls_are_estimated_by_what_the_callers_own_have_cost(serve):
    async def test(server):
        await billed(server, "0.02")
        await billed(server, "0.04")
        await billed(server, None)
        await billed(server, "9", key="other")
        await billed(server, "7", at=AT - 31 * 86400)
        body = {
            "estimate_type": "historical_api_price",
            "endpoints": {EP: {"call_quantity": 10}},
        }
        own = await server.call("POST", "/v1/models/pricing/estimate", body)
        every = await server.admin("POST", "/v1/models/pricing/estimate", body)
        return own.json["total_cost"], every.json["total_cost"]

    assert serve(test) == (0.3, 30.2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"estimate_type": "guess", "endpoints": {EP: {"call_quantity": 1}}}, 400),
        ({"estimate_type": ["unit_price"], "endpoints": {EP: {"unit_quantity": 1}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {EP: {"unit_quantity": 0}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {EP: {"unit_quantity": True}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {EP: {"unit_quantity": 1e300}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {"a/b": {"unit_quantity": 1}}}, 404),
        ({"estimate_type": "historical_api_price", "endpoints": {EP: {"call_quantity": 1.5}}}, 400),
        ({"estimate_type": "historical_api_price", "endpoints": {EP: {"call_quantity": 1}}}, 404),
        ({"estimate_type": "historical_api_price", "endpoints": {"\ud800": {}}}, 400),
    ],
)
def test_what_cannot_be_estimated(serve, body, status):
    answer = serve(lambda server: server.call("POST", "/v1/models/pricing/estimate", body))
    assert answer.status == status
    assert answer.json["error"]["message"]


# ---------------------------------------------------------------- usage


def test_usage_is_counted_in_slices_of_the_callers_days(serve):
    async def test(server):
        await billed(server, "0.1", at=datetime(2026, 3, 8, 22, 59, tzinfo=UTC).timestamp())
        await billed(server, "0.2", at=datetime(2026, 3, 8, 23, 1, tzinfo=UTC).timestamp())
        await billed(server, "0.1", at=datetime(2026, 3, 9, 12, 0, tzinfo=UTC).timestamp())
        await billed(server, None, at=datetime(2026, 3, 9, 12, 0, tzinfo=UTC).timestamp())
        return await server.admin(
            "GET",
            "/v1/models/usage?start=2026-03-01&end=2026-03-10&timezone=Europe/Berlin"
            "&timeframe=day&expand=time_series,summary",
        )

    answer = serve(test).json
    assert [
        (one["bucket"], [(line["cost"], line["call_count"]) for line in one["results"]])
        for one in answer["time_series"]
    ] == [("2026-03-08T00:00:00+01:00", [(0.1, 1)]), ("2026-03-09T00:00:00+01:00", [(0.3, 3)])]
    (summary,) = answer["summary"]
    assert summary == {
        "endpoint_id": EP,
        "unit": "usd",
        "quantity": 0.4,
        "unit_price": 1,
        "percent_discount": None,
        "cost_subtotal": 0.4,
        "cost_discount": 0,
        "cost_total": 0.4,
        "cost": 0.4,
        "currency": "USD",
        "call_count": 4,
        "unknown_cost_count": 1,
    }
    assert answer["has_more"] is False


def test_usage_is_told_apart_by_key_and_filtered(serve):
    async def test(server):
        await billed(server, "1")
        await billed(server, "2", key=server.boss.key_id)
        await billed(server, "4", endpoint=ENTERPRISE)
        path = "/v1/models/usage?expand=summary"
        both = await server.admin("GET", f"{path},auth_method,auth_method_structured")
        assert [(line["auth_method"], line["cost"]) for line in both.json["summary"]] in (
            [("plain", 1), ("boss", 2), ("plain", 4)],
            [("boss", 2), ("plain", 1), ("plain", 4)],
        )
        last = both.json["summary"][-1]["auth_method_structured"]
        assert last == {"detail": "plain", "api_key_id": server.plain.key_id}
        mine = await server.admin("GET", f"{path}&api_key_id={server.plain.key_id}")
        assert [line["cost"] for line in mine.json["summary"]] == [1, 4]
        video = await server.admin("GET", f"{path}&endpoint_id={EP}")
        assert [line["cost"] for line in video.json["summary"]] == [3]
        nobody = await server.admin("GET", f"{path}&login_username=alice")
        assert nobody.json["summary"] == []

    serve(test)


def test_a_long_series_comes_in_pages_that_meet(serve):
    async def test(server):
        for minutes in range(0, 600, 60):
            await billed(server, "1", at=AT - minutes * 60 - 1)
        path = "/v1/models/usage?timeframe=hour&limit=3"
        return await every_page(server.admin, path, "time_series")

    series = serve(test)
    assert len(series) == 10
    assert [one["bucket"] for one in series] == sorted({one["bucket"] for one in series})
    assert all(one["results"][0]["cost"] == 1 for one in series)


def test_the_span_is_exact_when_asked_for(serve):
    async def test(server):
        for minute in (10, 30, 50):
            await billed(server, "1", at=AT - 3600 + minute * 60)
        path = (
            "/v1/models/usage?start=2026-03-10T11:20:00Z&end=2026-03-10T12:00:00%2B00:00"
            "&timeframe=hour&expand=time_series,summary&bound_to_timeframe="
        )
        exact = (await server.admin("GET", f"{path}false")).json
        whole = (await server.admin("GET", f"{path}true")).json
        return exact, whole

    exact, whole = serve(test)
    assert exact["summary"][0]["cost"] == exact["time_series"][0]["results"][0]["cost"] == 2
    assert whole["summary"][0]["cost"] == whole["time_series"][0]["results"][0]["cost"] == 3


@pytest.mark.parametrize(
    "query",
    [
        "start=yesterday",
        "start=2026-3-1",
        "start=0001-01-01",
        "start=9999-12-31T23:59:59",
        "start=2026-03-02&end=2026-03-01",
        "timezone=Mars/Olympus",
        "timezone=../../etc/passwd",
        "timezone=America",
        "timeframe=century",
        "bound_to_timeframe=maybe",
        "expand=auth_method",
        "cursor=bm8=",
        "api_key_id=a%20b",
    ],
)
def test_a_span_that_makes_no_sense_is_refused(serve, query):
    answer = serve(lambda server: server.admin("GET", f"/v1/models/usage?{query}"))
    assert (answer.status, answer.json["error"]["type"]) == (400, "validation_error")


# ---------------------------------------------------------------- analytics


def test_analytics_count_what_ended_and_how(serve):
    async def test(server):
        for number in range(1, 101):
            await ended(server, ran=number / 10, waited=number)
        await ended(server, code=422, error_type="file_download_error")
        await ended(server, code=499, error_type="client_cancelled")
        await ended(server, code=503, error_type="downstream_service_unavailable")
        await ended(server, code=504, error_type="generation_timeout")
        await ended(server, code=500, error_type="internal_server_error")
        await ended(server, key="other")
        names = (
            "request_count,success_count,user_error_count,error_count,startup_error_count,"
            "connection_error_count,timeout_error_count,runtime_error_count,cold_boot_count"
        )
        path = f"/v1/models/analytics?endpoint_id={EP}&end=2026-03-11&expand=summary,"
        counts = await server.call("GET", path + names)
        every = await server.admin("GET", path + "request_count")
        return counts.json["summary"], every.json["summary"]

    counts, every = serve(test)
    assert counts == [
        {
            "endpoint_id": EP,
            "request_count": 105,
            "success_count": 100,
            "user_error_count": 2,
            "error_count": 3,
            "startup_error_count": 0,
            "connection_error_count": 1,
            "timeout_error_count": 1,
            "runtime_error_count": 1,
            "cold_boot_count": 0,
        }
    ]
    assert every == [{"endpoint_id": EP, "request_count": 106}]


def test_percentiles_are_of_nearest_rank(serve):
    async def test(server):
        for number in range(1, 101):
            await ended(server, ran=number / 10, waited=number)
        await ended(server, endpoint=ENTERPRISE, ran=7.0, waited=0.0)
        names = [f"p{p}_duration" for p in (25, 50, 75, 90, 95, 99)]
        names += [f"p{p}_prepare_duration" for p in (50, 75, 90, 95, 99)]
        return await server.call(
            "GET",
            f"/v1/models/analytics?endpoint_id={EP},{ENTERPRISE}"
            f"&expand=time_series,total_billable_duration,{','.join(names)}",
        )

    (hour,) = serve(test).json["time_series"]
    assert hour["bucket"] == "2026-03-10T11:00:00+00:00"
    video, enterprise = hour["results"]
    assert [video[f"p{p}_duration"] for p in (25, 50, 75, 90, 95, 99)] == [2.5, 5, 7.5, 9, 9.5, 9.9]
    waited = [video[f"p{p}_prepare_duration"] for p in (50, 75, 90, 95, 99)]
    assert waited == [50, 75, 90, 95, 99]
    assert video["total_billable_duration"] == 505
    assert enterprise["p25_duration"] == enterprise["p99_duration"] == 7


def test_a_request_that_never_started_counts_and_took_no_time(serve):
    async def test(server):
        waiting = await server.house.submit("wait", key=server.plain.key_id)
        await server.house.queue.cancel(waiting)
        path = f"/v1/models/analytics?endpoint_id={EP}&expand=summary,request_count,p50_duration"
        return (await server.call("GET", path)).json["summary"]

    assert serve(test, slots=0) == [{"endpoint_id": EP, "request_count": 1}]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        (f"endpoint_id={EP}&expand=time_series", 400),
        (f"endpoint_id={EP}&expand=request_count", 400),
        ("endpoint_id=a/b", 404),
    ],
)
def test_what_analytics_cannot_be_asked(serve, query, status):
    assert serve(lambda server: server.call("GET", f"/v1/models/analytics?{query}")).status == (
        status
    )


# ---------------------------------------------------------------- billing


def test_billing_events_are_the_ledger_newest_first(serve):
    async def test(server):
        await billed(server, "0.000000123456", at=AT - 20, request_id="a")
        await billed(server, None, at=AT - 10, request_id="b")
        await billed(server, "2", at=AT - 86401, request_id="old")
        return await server.admin("GET", "/v1/models/billing-events?expand=auth_method")

    answer = serve(test).json
    unknown, known = answer["billing_events"]
    assert known == {
        "request_id": "a",
        "endpoint_id": EP,
        "timestamp": "2026-03-10T11:59:40.000000Z",
        "output_units": 0.000000123456,
        "unit_price": 1,
        "percent_discount": None,
        "cost_subtotal": 0.000000123456,
        "cost_discount": 0,
        "cost_total": 0.000000123456,
        "cost_estimate_nano_usd": 123.456,
        "auth_method": "plain",
    }
    assert (unknown["output_units"], unknown["unit_price"], unknown["cost_total"]) == (
        None,
        None,
        0,
    )


def test_billing_events_of_one_moment_are_all_in_one_page_or_the_next(serve):
    async def test(server):
        for number in range(7):
            await billed(server, "1", at=AT - 1, request_id=str(number))
        path = "/v1/models/billing-events?limit=2"
        events = await every_page(server.admin, path, "billing_events")
        some = await server.admin("GET", "/v1/models/billing-events?request_id=1,5")
        return [event["request_id"] for event in events], len(some.json["billing_events"])

    assert serve(test) == (list("6543210"), 2)


def test_billing_events_span_90_days_at_most(serve):
    path = "/v1/models/billing-events?start=2025-01-01"
    assert serve(lambda server: server.admin("GET", path)).status == 400


def test_the_account_says_what_was_spent_and_has_no_balance(serve):
    async def test(server):
        await billed(server, "0.1")
        await billed(server, "0.2", endpoint=ENTERPRISE)
        await billed(server, "5", at=AT - 40 * 86400)
        await billed(server, None)
        return (await server.admin("GET", "/v1/account/billing?expand=credits")).json

    assert serve(test) == {
        "username": "owner",
        "credits": {"current_balance": 0, "currency": "USD"},
        "spent": {"cost": 5.3, "currency": "USD", "call_count": 4, "unknown_cost_count": 1},
        "spent_in_30_days": {
            "cost": 0.3,
            "currency": "USD",
            "call_count": 3,
            "unknown_cost_count": 1,
        },
    }


# ---------------------------------------------------------------- requests


def test_requests_are_told_as_fal_tells_them(serve):
    async def test(server):
        request_id = await ended(server, at=AT - 10)
        return request_id, await server.call(
            "GET", f"/v1/models/requests/by-endpoint?endpoint_id={EP}&expand=payloads"
        )

    request_id, answer = serve(test)
    assert answer.json == {
        "items": [
            {
                "request_id": request_id,
                "endpoint_id": EP,
                "sent_at": "2026-03-10T11:59:47.000000Z",
                "started_at": "2026-03-10T11:59:48.000000Z",
                "ended_at": "2026-03-10T11:59:50.000000Z",
                "status_code": 200,
                "duration": 3.0,
                "json_input": {"prompt": "p"},
                "json_output": {"output": "o"},
            }
        ],
        "next_cursor": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["slow", "broken", "wrong", "fine"]),
        ("&status=success", ["slow", "fine"]),
        ("&status=error", ["broken"]),
        ("&status=user_error", ["wrong"]),
        ("&sort_by=duration", ["slow", "wrong", "broken", "fine"]),
        ("&start=2026-03-10T11:59:30Z", ["slow", "broken"]),
        ("&end=2026-03-10T11:59:30Z", ["wrong", "fine"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 100])
def test_requests_are_filtered_sorted_and_paged(serve, query, found, limit):
    async def test(server):
        names = {
            await ended(server, at=AT - 40, ran=1): "fine",
            await ended(server, at=AT - 35, ran=5, code=422): "wrong",
            await ended(server, at=AT - 20, ran=3, code=500): "broken",
            await ended(server, at=AT - 10, ran=9): "slow",
        }
        await ended(server, endpoint=ENTERPRISE)
        await ended(server, at=AT - 90_000)
        path = f"/v1/models/requests/by-endpoint?endpoint_id={EP}&limit={limit}{query}"
        return [names[item["request_id"]] for item in await every_page(server.call, path, "items")]

    assert serve(test) == found


def test_requests_that_ended_at_the_same_moment_are_each_in_one_page(serve):
    async def test(server):
        made = [await ended(server, at=AT - 1, waited=1.0) for _ in range(9)]
        for sort in ("ended_at", "duration"):
            path = f"/v1/models/requests/by-endpoint?endpoint_id={EP}&limit=2&sort_by={sort}"
            items = await every_page(server.call, path, "items")
            assert [item["request_id"] for item in items] == made[::-1]

    serve(test)


def test_a_key_sees_its_own_requests_and_an_administrator_all(serve):
    async def test(server):
        mine, other = await ended(server, at=AT - 1), await ended(server, key="x", at=AT - 2)
        path = f"/v1/models/requests/by-endpoint?endpoint_id={EP}"
        seen = await server.call("GET", path)
        assert [item["request_id"] for item in seen.json["items"]] == [mine]
        every = await server.admin("GET", path)
        assert {item["request_id"] for item in every.json["items"]} == {mine, other}
        named = await server.call("GET", f"{path}&request_id={other}")
        assert named.json["items"] == []

    serve(test)


def test_a_named_request_is_shown_before_its_end(serve):
    async def test(server):
        request_id = await server.house.submit("wait", key=server.plain.key_id)
        path = f"/v1/models/requests/by-endpoint?endpoint_id={EP}&request_id={request_id}"
        (item,) = (await server.call("GET", path)).json["items"]
        assert (item["ended_at"], item["status_code"], item["duration"]) == (None, None, None)
        assert (await server.call("GET", f"{path}&status=success")).json["items"] == []

    serve(test)


def test_a_page_of_large_payloads_ends_early_and_misses_none(serve, monkeypatch):
    monkeypatch.setattr(platform_requests, "_PAGE_BYTES", 5_000)

    async def test(server):
        text = json.dumps({"prompt": "x" * 2_000})
        made = [await ended(server, at=AT - n, input=text) for n in range(1, 8)]
        path = f"/v1/models/requests/by-endpoint?endpoint_id={EP}&expand=payloads"
        first = await server.call("GET", path)
        items = await every_page(server.call, path, "items")
        return made, len(first.json["items"]), [item["request_id"] for item in items]

    made, first, seen = serve(test)
    assert (first, seen) == (2, made)


@pytest.mark.parametrize(
    "query",
    [
        "",
        f"endpoint_id={EP}&request_id=elephant",
        f"endpoint_id={EP}&status=fine",
        f"endpoint_id={EP}&sort_by=name",
        f"endpoint_id={EP}&expand=all",
    ],
)
def test_what_requests_cannot_be_asked(serve, query):
    path = f"/v1/models/requests/by-endpoint?{query}"
    assert serve(lambda server: server.call("GET", path)).status == 400


# ---------------------------------------------------------------- deleting payloads


MARK = "a-secret-that-must-go"


async def secret_request(server):
    """A request that went through the real queue, with a secret in every place it may lie."""
    content = f"{MARK} in a data URI".encode() * 2_000
    path = server.folder / "attached"
    path.write_bytes(content)
    attachment = Attachment(
        content_type="video/mp4",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        path=path,
    )
    asked = request(
        "answer",
        key=server.plain.key_id,
        attachments={"attachment:1": attachment},
        video_urls=["attachment:1"],
        system_prompt=f"{MARK} " * 5_000,
    )
    server.house.pipeline.cost = Usage(total_tokens=3, cost=Decimal(1), cost_source="billed")
    await server.house.queue.submit(asked)
    await server.house.ended(asked.id)

    async def operation(tx):
        await tx.execute(
            "insert_log", request_id=asked.id, seq=99, at=AT, level="INFO", message=MARK
        )

    await server.house.db.write(operation)
    return asked.id


def on_disk(folder: Path):
    """The files below the folder that hold the mark."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and MARK.encode() in path.read_bytes()
    ]


def test_deleted_payloads_are_nowhere_on_the_disk_and_what_happened_stays(serve):
    async def test(server):
        request_id = await secret_request(server)
        assert on_disk(server.folder)
        answer = await server.admin("DELETE", f"/v1/models/requests/{request_id}/payloads")
        assert (answer.status, answer.json) == (200, {"cdn_delete_results": []})
        assert on_disk(server.folder) == []
        path = f"/v1/models/requests/by-endpoint?endpoint_id={EP}&request_id={request_id}&expand=payloads"
        (item,) = (await server.call("GET", path)).json["items"]
        assert item["status_code"] == 200
        assert "json_input" not in item
        assert "json_output" not in item
        result = await server.call("GET", f"/queue/openrouter/router/requests/{request_id}")
        assert result.status == 404
        (entry,) = await server.house.rows(
            "SELECT cost FROM ledger WHERE request_id = :id", id=request_id
        )
        assert entry["cost"] == "1"

    serve(test)


def test_deleting_payloads_again_is_the_same(serve):
    async def test(server):
        request_id = await secret_request(server)
        for _ in range(2):
            answer = await server.admin(
                "DELETE",
                f"/v1/models/requests/{request_id}/payloads",
                headers={"idempotency-key": "again"},
            )
            assert (answer.status, answer.json) == (200, {"cdn_delete_results": []})

    serve(test)


def test_bytes_that_an_uploaded_file_has_too_stay(serve):
    async def test(server):
        content = f"{MARK} in a data URI".encode() * 2_000
        answer = await server.call(
            "POST", "/files/upload", body=content, headers={"content-type": "video/mp4"}
        )
        request_id = await secret_request(server)
        await server.admin("DELETE", f"/v1/models/requests/{request_id}/payloads")
        file = await server.call(
            "GET", answer.json["access_url"].removeprefix("http://localhost:8484")
        )
        assert file.body == content

    serve(test)


def test_payloads_of_a_request_under_way_stay(serve):
    async def test(server):
        request_id = await server.house.submit("wait", key=server.plain.key_id)
        answer = await server.admin("DELETE", f"/v1/models/requests/{request_id}/payloads")
        assert (answer.status, answer.json["error"]["type"]) == (400, "validation_error")

    serve(test)


@pytest.mark.parametrize(("request_id", "status"), [(NOBODYS, 404), ("elephant", 400)])
def test_payloads_of_no_request_cannot_be_deleted(serve, request_id, status):
    answer = serve(
        lambda server: server.admin("DELETE", f"/v1/models/requests/{request_id}/payloads")
    )
    assert answer.status == status


# ---------------------------------------------------------------- keys


def test_a_key_that_is_made_works_and_one_that_is_deleted_does_not(serve):
    async def test(server):
        made = await server.admin("POST", "/v1/keys", {"alias": "mobile app"})
        assert made.status == 201
        assert made.json["key"] == f"{made.json['key_id']}:{made.json['key_secret']}"
        user = Browser(server.app, key=made.json["key"])
        path = f"/v1/models/pricing?endpoint_id={EP}"
        assert (await user("GET", path)).status == 200
        listed = (await server.admin("GET", "/v1/keys")).json["keys"]
        assert {key["alias"]: key["scope"] for key in listed} == {
            "mobile app": "API",
            "plain": "API",
        }
        for _ in range(2):
            gone = await server.admin("DELETE", f"/v1/keys/{made.json['key_id']}")
            assert (gone.status, gone.body) == (204, b"")
        assert (await user("GET", path)).status == 401
        listed = (await server.admin("GET", "/v1/keys")).json["keys"]
        assert [key["alias"] for key in listed] == ["plain"]

    serve(test)


def test_the_newest_keys_come_first_in_pages(serve):
    async def test(server):
        for name in "abc":
            server.clock.now += 1
            await server.keys.create(name)
        keys = await every_page(server.admin, "/v1/keys?limit=2", "keys")
        return [key["alias"] for key in keys]

    assert serve(test) == ["c", "b", "a", "plain"]


def test_the_administrators_key_is_not_deleted_from_afar(serve):
    async def test(server):
        answer = await server.admin("DELETE", f"/v1/keys/{server.boss.key_id}")
        assert (answer.status, answer.json["error"]["type"]) == (403, "authorization_error")
        assert (await server.admin("GET", "/v1/keys")).status == 200

    serve(test)


@pytest.mark.parametrize(
    "body",
    [{}, {"alias": ""}, {"alias": "x" * 256}, {"alias": 1}, {"alias": "\ud800"}, {"alias": "\0"}],
)
def test_an_alias_that_is_none_is_refused(serve, body):
    answer = serve(lambda server: server.admin("POST", "/v1/keys", body))
    assert (answer.status, answer.json["error"]["type"]) == (400, "validation_error")


# ---------------------------------------------------------------- failures


ADMINS = [
    ("GET", "/v1/models/usage"),
    ("GET", "/v1/models/billing-events"),
    ("DELETE", f"/v1/models/requests/{NOBODYS}/payloads"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/x"),
    ("GET", "/v1/account/billing"),
]
ANYBODYS = [
    ("GET", f"/v1/models/pricing?endpoint_id={EP}"),
    ("POST", "/v1/models/pricing/estimate"),
    ("GET", f"/v1/models/analytics?endpoint_id={EP}"),
    ("GET", f"/v1/models/requests/by-endpoint?endpoint_id={EP}"),
    ("GET", "/v1/storage/files/acl"),
    ("PUT", "/v1/storage/files/acl"),
    ("POST", "/v1/storage/files/sign"),
    ("GET", "/v1/storage/settings"),
    ("PUT", "/v1/storage/settings"),
    ("GET", "/v1/workflows"),
]


@pytest.mark.parametrize(("method", "path"), ADMINS)
def test_some_calls_need_the_scope_admin(serve, method, path):
    answer = serve(lambda server: server.call(method, path))
    assert (answer.status, answer.json["error"]["type"]) == (403, "authorization_error")


@pytest.mark.parametrize(("method", "path"), ADMINS + ANYBODYS)
def test_every_call_but_two_needs_a_key(serve, method, path):
    answer = serve(lambda server: server.stranger(method, path))
    assert (answer.status, answer.json["error"]["type"]) == (401, "authorization_error")
    assert answer.json["error"]["request_id"] == answer.headers["x-fal-request-id"]


def test_a_temporary_token_is_not_for_the_platform(serve):
    async def test(server):
        token = await server.call("POST", "/rest/tokens/", {"allowed_apps": ["router"]})
        headers = {"authorization": f"Bearer {token.json}"}
        return await server.stranger("GET", "/v1/storage/settings", headers=headers)

    answer = serve(test)
    assert (answer.status, answer.json["error"]["type"]) == (403, "authorization_error")


@pytest.mark.parametrize(
    ("call", "status", "kind"),
    [
        (("GET", "/v1", None), 404, "not_found"),
        (("GET", "/v1/elephants", None), 404, "not_found"),
        (("GET", "/elephants", "api.fal.ai"), 404, "not_found"),
        (("GET", "/v1/%2e%2e/x", None), 404, "not_found"),
        (("GET", "/%2e%2e/x", "api.fal.ai"), 404, "not_found"),
        (("DELETE", "/v1/meta", None), 405, "validation_error"),
        (("PUT", "/v1/models", None), 405, "validation_error"),
        (("GET", "/v1/models/requests/search", None), 501, "not_implemented"),
        (("POST", "/v1/compute/instances", None), 501, "not_implemented"),
        (("GET", "/v1/serverless/apps/a/b/queue", None), 501, "not_implemented"),
        (("GET", "/v1/account/focus", None), 501, "not_implemented"),
        (("GET", "/v1/account/focus", "[::1"), 501, "not_implemented"),
    ],
)
def test_failures_have_the_platforms_own_shape(serve, call, status, kind):
    method, path, host = call
    answer = serve(lambda server: server.call(method, path, host=host))
    assert (answer.status, answer.json["error"]["type"]) == (status, kind)
    assert set(answer.json) == {"error"}
    assert answer.headers["content-type"] == "application/json"


def test_a_bug_is_told_as_a_server_error_and_nothing_more(serve):
    async def test(server):
        async def broken(_operation):
            raise ZeroDivisionError("secret")

        server.house.db.read = broken
        try:
            return await server.call("GET", "/v1/storage/settings")
        finally:
            del server.house.db.read

    answer = serve(test)
    assert (answer.status, answer.json["error"]["type"]) == (500, "server_error")
    assert b"secret" not in answer.body


def test_webhooks_come_from_this_machine_wherever_it_is(serve):
    answer = serve(lambda server: server.stranger("GET", "/v1/meta"))
    assert answer.json == {"webhook_ip_ranges": []}


# ---------------------------------------------------------------- our own API


def misfits(value, schema, schemas, path="$"):
    """Where an answer has a member too few, too many or of another type than is documented."""
    if "$ref" in schema:
        return misfits(value, schemas[schema["$ref"].rpartition("/")[2]], schemas, path)
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    types |= {"number": int | float, "null": type(None)}
    if kinds and not any(isinstance(value, types[kind]) for kind in kinds):
        return [f"{path} is no {kinds}"]
    found = []
    if isinstance(value, dict) and "properties" in schema:
        names = set(schema["properties"])
        found += [f"{path}.{name}" for name in names ^ set(value)]
        for name in names & set(value):
            found += misfits(value[name], schema["properties"][name], schemas, f"{path}.{name}")
    if isinstance(value, list):
        for item in value:
            found += misfits(item, schema["items"], schemas, f"{path}[]")
    return found


def test_our_own_api_answers_as_its_document_says(serve):
    async def test(server):
        document = (await server.stranger("GET", "/telecine/v1/openapi.json")).json
        schemas = document["components"]["schemas"]
        done = await server.house.submit(
            "chat", key=server.plain.key_id, webhook_url="https://example.org/hook?secret"
        )
        server.house.pipeline.go.set()
        await server.house.ended(done)
        base = "/telecine/v1"
        (delivery,) = (await server.call("GET", f"{base}/deliveries")).json["deliveries"]
        of_a_page = set(delivery) - set(schemas["Delivery"]["properties"])
        assert of_a_page == {"last_status", "last_detail"}
        for path, template in (
            (f"{base}/requests", "/requests"),
            (f"{base}/requests/{done}", "/requests/{id}"),
            (f"{base}/models", "/models"),
            (f"{base}/deliveries/{delivery['id']}", "/deliveries/{id}"),
        ):
            answer = await server.call("GET", path)
            call = document["paths"][f"{base}{template}"]["get"]
            schema = call["responses"]["200"]["content"]["application/json"]["schema"]
            assert misfits(answer.json, schema, schemas) == [], path

    serve(test)


# ---------------------------------------------------------------- whatever is asked


NAMES = st.sampled_from(
    [
        *("limit", "cursor", "start", "end", "timezone", "timeframe", "bound_to_timeframe"),
        *("endpoint_id", "api_key_id", "request_id", "login_username", "expand", "status"),
        *("sort_by", "q", "category", "url"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("1", "0", "-1", "99999999999", "2026-03-01", "2026-03-01T00:00:00 01:00", "UTC"),
            *("Asia/Kathmandu", "week", "month", "minute", "true", "summary", "time_series"),
            *("p99_duration", "payloads", "success", "duration", "auth_method", EP, str(uuid4())),
            *("WzEsMV0=", "WzFlOTk5LDFd", "WyJkYXkiLDEsMiwzXQ==", "WyJkYXkiLC0xZTE4LDAsMWUxOF0="),
            "W251bGwsMV0=",
            "http://x/files/00000000000000000000000000000000/a.mp4",
        ]
    ),
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=20
    ),
    st.from_regex(r"%[0-9A-F]{2}", fullmatch=True),
)
BODIES = st.one_of(
    st.none(),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=5)
        | st.sampled_from(["allow", "hide", "unit_price", "historical_api_price"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        *("alias", "default", "rules", "user", "decision", "initial_acl", EP),
                        *("expiration_seconds", "expiration_duration_seconds", "estimate_type"),
                        *("endpoints", "call_quantity", "unit_quantity"),
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ),
)
CALLS = [("GET", "/v1/models"), ("GET", "/v1/meta"), *ADMINS, *ANYBODYS]


def test_nothing_that_is_asked_of_the_platform_is_a_500(serve):
    calls = []

    @settings(max_examples=500, deadline=None, database=None)
    @given(st.sampled_from(CALLS), st.lists(st.tuples(NAMES, VALUES), max_size=4), BODIES)
    def think_of(call, query, body):
        calls.append((*call, query, body))

    think_of()

    async def test(server):
        for number in range(5):
            await ended(server, at=AT - number * 1000)
            await billed(server, "0.1", at=AT - number * 1000)
        for method, path, query, body in calls:
            if path == f"/v1/keys/{server.boss.key_id}":
                continue
            asked = "&".join(f"{name}={value}" for name, value in query)
            target = f"{path.partition('?')[0]}?{asked}"
            answer = await server.admin(method, target, body)
            assert answer.status < 500 or answer.status == 501, (method, target, body, answer.body)
            if answer.status >= 400:
                assert answer.json["error"]["type"] in TYPES
                assert answer.json["error"]["message"]
            elif answer.status != 204:
                assert isinstance(answer.json, dict)

    serve(test)


# ---------------------------------------------------------------- many requests


@pytest.mark.parametrize(
    "statement",
    [
        *("analytics_next", "analytics_counts", "analytics_durations"),
        "analytics_prepare_durations",
    ],
)
def test_reports_are_made_from_an_index_and_never_from_the_rows(serve_sqlite, statement):
    async def test(server):
        sql = f"EXPLAIN QUERY PLAN {read_statements()[statement]}"
        values = {"start": 0, "end": 1, "key_id": "k", "is_admin": 0, "endpoints": " x "}
        return [row["detail"] for row in await server.house.rows(sql, **values)]

    plan = serve_sqlite(test)
    assert any("USING COVERING INDEX requests_ended (finished_at>? AND" in step for step in plan)
    assert not any("SCAN requests" in step for step in plan)


@pytest.mark.parametrize("statement", ["requests_by_end", "requests_by_duration", "billing_events"])
def test_pages_are_found_by_time(serve_sqlite, statement):
    async def test(server):
        sql = read_statements()[statement]
        names = set(re.findall(r":(\w+)", sql))
        plan = await server.house.rows(f"EXPLAIN QUERY PLAN {sql}", **dict.fromkeys(names, 1))
        return [row["detail"] for row in plan]

    assert not any(step.startswith("SCAN") for step in serve_sqlite(test))
