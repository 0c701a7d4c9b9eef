"""What a key may do at most: scopes, models, rate, budget, end; and who changed what."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.fakes.asgi import Browser
from tests.fakes.gateway import AT

from telecine.keys import permits
from telecine.models import KeyLimits

VIDEO = "/openrouter/router/video"
ASKED = {"prompt": "p", "model": "google/gemini-2.5-flash"}
FILE = {"file_name": "a.mp4", "content_type": "video/mp4"}
DAY = 24 * 3600


async def caller(server, *scopes, expires_at=None, **limits):
    """A browser with a new key, and the key's id."""
    key = await server.keys.create(
        "x", scopes or ["API"], expires_at=expires_at, limits=KeyLimits(**limits)
    )
    return Browser(server.app, key=key.key), key.key_id


async def spend(server, key_id, cost, *, at=AT):
    """A row of the ledger, as a billed call leaves it."""
    values = {
        "call_id": uuid.uuid4().hex,
        "request_id": "r",
        "attempt": 1,
        "key_id": key_id,
        "endpoint": "openrouter/router/video",
        "mode": "run",
        "provider": "p",
        "model": "m",
        "at": at,
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "total_tokens": 2,
        "cost": cost,
        "cost_source": "unknown" if cost is None else "billed",
        "upstream_id": None,
        "price_source": None,
        "settle_at": None,
    }
    await server.house.db.write(lambda tx: tx.execute("insert_ledger_entry", **values))


# ---------------------------------------------------------------- scopes


@pytest.mark.parametrize(
    ("scopes", "calls", "files", "administers"),
    [
        (("API",), True, True, False),
        (("CALL",), True, False, False),
        (("FILES",), False, True, False),
        (("ADMIN",), True, True, True),
    ],
)
def test_a_scope_is_what_it_says(serve, scopes, calls, files, administers):
    async def test(server):
        call, _ = await caller(server, *scopes)
        for path in (VIDEO, f"/queue{VIDEO}", f"{VIDEO}/stream"):
            assert ((await call("POST", path, ASKED)).status == 200) is calls, path
        chat = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        answer = await call("POST", "/openrouter/router/openai/v1/chat/completions", chat)
        assert (answer.status != 403) is calls
        for path in ("/rest/storage/upload/initiate", "/rest/storage/auth/token"):
            query = "?storage_type=fal-cdn-v3"
            assert ((await call("POST", path + query, FILE)).status == 200) is files, path
        assert ((await call("POST", "/files/upload", body=b"x")).status == 200) is files
        assert ((await call("GET", "/telecine/v1/keys")).status == 200) is administers
        assert ((await call("GET", "/telecine/v1/audit")).status == 200) is administers

    serve(test)


# ---------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("models", "model", "is_fine"),
    [
        ((), "anything", True),
        (("a/b",), "a/b", True),
        (("a/b",), "a/bc", False),
        (("a/*",), "a/bc", True),
        (("a/*",), "b/a/", False),
        (("*",), "anything", True),
        (("x", "y*"), "yes", True),
    ],
)
def test_models_are_names_or_beginnings(models, model, is_fine):
    assert permits(KeyLimits(models=models), model) is is_fine


@pytest.mark.parametrize("path", [VIDEO, f"{VIDEO}/stream", f"/queue{VIDEO}"])
def test_a_model_that_is_not_for_the_key_is_403_everywhere(serve, path):
    async def test(server):
        call, _ = await caller(server, models=("google/*",))
        assert (await call("POST", path, ASKED)).status == 200
        refused = await call("POST", path, {**ASKED, "model": "openai/gpt"})
        assert refused.status == 403
        assert "openai/gpt" in refused.json["detail"]
        fallback = await call("POST", path, {**ASKED, "models": ["openai/gpt"]})
        assert fallback.status == 403

    serve(test)


# ---------------------------------------------------------------- rate


def test_calls_over_the_rate_wait_for_a_later_moment(serve):
    async def test(server):
        call, _ = await caller(server, per_minute=2)
        assert [(await call("POST", VIDEO, ASKED)).status for _ in range(3)] == [200, 200, 429]
        answer = await call("POST", VIDEO, ASKED)
        assert answer.headers["retry-after"] == "30"
        server.clock.now += 30
        assert [(await call("POST", VIDEO, ASKED)).status for _ in range(2)] == [200, 429]

    serve(test)


def test_asking_how_it_goes_is_no_call(serve):
    async def test(server):
        call, _ = await caller(server, per_minute=1)
        assert (await call("POST", VIDEO, ASKED)).status == 200
        for _ in range(3):
            assert (await call("GET", "/telecine/v1/requests")).status == 200

    serve(test)


def test_one_key_does_not_use_up_anothers_rate(serve):
    async def test(server):
        first, _ = await caller(server, per_minute=1)
        second, _ = await caller(server, per_minute=1)
        assert (await first("POST", VIDEO, ASKED)).status == 200
        assert (await second("POST", VIDEO, ASKED)).status == 200

    serve(test)


# ---------------------------------------------------------------- budget


@pytest.mark.parametrize("path", [VIDEO, f"{VIDEO}/stream", f"/queue{VIDEO}"])
def test_a_spent_budget_stops_the_next_call(serve, path):
    async def test(server):
        call, key_id = await caller(server, budget=Decimal("0.3"))
        await spend(server, key_id, "0.1")
        await spend(server, key_id, "0.199999999999")
        assert (await call("POST", path, ASKED)).status == 200
        await spend(server, key_id, "0.000000000001")
        answer = await call("POST", path, ASKED)
        assert answer.status == 403
        assert "$0.3 of $0.3 a month" in answer.json["detail"]

    serve(test)


@pytest.mark.parametrize(
    ("per", "seconds", "is_fresh"),
    [
        ("day", DAY, True),
        ("day", DAY / 4, False),
        ("month", 31 * DAY, True),
        ("month", DAY, False),
        ("total", 4000 * DAY, False),
    ],
)
def test_a_budget_starts_again_with_its_period(serve, per, seconds, is_fresh):
    async def test(server):
        call, key_id = await caller(server, budget=Decimal(1), budget_per=per)
        await spend(server, key_id, "1")
        server.clock.now += seconds
        assert ((await call("POST", VIDEO, ASKED)).status == 200) is is_fresh

    serve(test)


def test_a_cost_that_is_told_later_counts_from_then_on(serve):
    async def test(server):
        call, key_id = await caller(server, budget=Decimal(1))
        await spend(server, key_id, None)
        assert (await call("POST", VIDEO, ASKED)).status == 200
        values = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 1)

        async def settle(tx):
            rows = await tx.fetch("request_entries", request_id="r")
            assert len(rows) == 1
            return await tx.execute("settle_entry", id=1, cost="2", cost_source="billed", **values)

        assert await server.house.db.write(settle) == 1
        assert (await call("POST", VIDEO, ASKED)).status == 403
        assert await server.keys.spent(key_id, KeyLimits()) == 2

    serve(test)


def test_what_another_key_spends_is_its_own(serve):
    async def test(server):
        call, _ = await caller(server, budget=Decimal(1))
        await spend(server, "another", "5")
        assert (await call("POST", VIDEO, ASKED)).status == 200

    serve(test)


# ---------------------------------------------------------------- end


def test_a_key_ends_when_it_should(serve):
    async def test(server):
        call, _ = await caller(server, expires_at=AT + 60)
        assert (await call("POST", VIDEO, ASKED)).status == 200
        server.clock.now += 60
        assert (await call("POST", VIDEO, ASKED)).status == 401

    serve(test)


# ---------------------------------------------------------------- over the API


def test_an_admin_makes_a_key_with_limits_changes_and_revokes_it(serve):
    async def test(server):
        body = {
            "alias": "ci",
            "scopes": ["CALL"],
            "models": ["google/*"],
            "per_minute": 60,
            "running": 3,
            "budget": "2.50",
            "budget_per": "day",
            "expires_at": datetime.fromtimestamp(AT + DAY, UTC).isoformat(),
        }
        # the API's own clock is the real one, which is later
        del body["expires_at"]
        made = await server.admin("POST", "/telecine/v1/keys", body)
        assert made.status == 201
        key = made.json
        call = Browser(server.app, key=key["key"])
        assert (await call("POST", VIDEO, ASKED)).status == 200
        shown = next(
            each
            for each in (await server.admin("GET", "/telecine/v1/keys")).json["keys"]
            if each["key_id"] == key["key_id"]
        )
        assert {name: shown[name] for name in body} == {**body, "budget": "2.5"}
        assert shown["spent"] == "0"
        assert key["key_secret"] not in str(shown)

        path = f"/telecine/v1/keys/{key['key_id']}"
        changed = await server.admin("PATCH", path, {"models": ["openai/*"], "budget": None})
        assert (changed.json["models"], changed.json["budget"]) == (["openai/*"], None)
        assert changed.json["per_minute"] == 60
        assert (await call("POST", VIDEO, ASKED)).status == 403

        assert (await server.admin("DELETE", path)).status == 204
        assert (await call("POST", VIDEO, ASKED)).status == 401
        assert (await server.admin("PATCH", path, {"alias": "z"})).status == 404

    serve(test)


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": ["ROOT"]},
        {"per_minute": 0},
        {"running": -1},
        {"budget": "-1"},
        {"budget": "NaN"},
        {"budget": "0"},
        {"budget_per": "year"},
        {"models": [""]},
        {"models": ["x"] * 101},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"alias": "a\x00"},
        {"what": 1},
    ],
)
def test_limits_that_make_no_sense_are_refused(serve, body):
    async def test(server):
        answer = await server.admin("POST", "/telecine/v1/keys", body)
        assert answer.status == 400, answer.body

    serve(test)


def test_nobody_revokes_the_key_that_he_is_signed_in_with(serve):
    async def test(server):
        answer = await server.admin("DELETE", f"/telecine/v1/keys/{server.boss.key_id}")
        assert answer.status == 400
        assert (await server.admin("GET", "/telecine/v1/keys")).status == 200

    serve(test)


def test_the_audit_log_says_who_changed_what_without_secrets(serve):
    async def test(server):
        made = (await server.admin("POST", "/telecine/v1/keys", {"alias": "ci"})).json
        path = f"/telecine/v1/keys/{made['key_id']}"
        await server.admin("PATCH", path, {"per_minute": 5})
        await server.admin("DELETE", path)
        same = {"sec-fetch-site": "same-origin"}
        await server.stranger(
            "POST", "/telecine/v1/session", {"key": server.boss.key}, headers=same
        )
        answer = await server.admin("GET", "/telecine/v1/audit")
        entries = answer.json["entries"]
        mine = [e for e in entries if e["subject"] == made["key_id"]]
        assert [e["action"] for e in mine] == ["key.revoked", "key.changed", "key.created"]
        assert {e["actor"] for e in mine} == {server.boss.key_id}
        assert mine[1]["detail"] == {"alias": "ci", "per_minute": 5}
        assert "session.started" in {e["action"] for e in entries}
        for secret in (made["key_secret"], server.boss.key_secret):
            assert secret not in answer.body.decode()

    serve(test)
