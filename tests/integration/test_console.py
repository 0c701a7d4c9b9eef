"""What the pages ask for besides: requests with filters, usage, files, providers; who may what."""

import asyncio
import json
import uuid
from dataclasses import asdict
from decimal import Decimal
from types import SimpleNamespace

import pytest
from starlette.requests import Request
from tests.fakes.asgi import Browser
from tests.fakes.gateway import AT
from tests.fakes.jobs import request

from telecine.api.console.providers import ProviderCalls
from telecine.api.parts import Locked, Upstream
from telecine.circuits import Pause
from telecine.models import Attachment, Caller, KeyLimits
from telecine.providers.base import Health
from telecine.providers.echo import Echo
from telecine.providers.registry import Registry

BASE = "/telecine/v1"
EP = "openrouter/router/video"
DAY = 24 * 3600
STATES = [f"state_{number}" for number in range(1, 6)]


async def insert(server, key_id, *, id=None, at=AT, state="succeeded", mode="run", **more):
    """A row of a request, as if it had come in long ago. One that waits goes on waiting."""
    if state == "queued":
        server.house.gate.stop()
        async with server.house.gate._passing:
            pass  # nor is it admitted by a look at the line that had begun
    values = {
        "id": (known := id or str(uuid.uuid4())),
        "endpoint": EP,
        "mode": mode,
        "key_id": key_id,
        "model": "echo/echo",
        "lane": "",
        "state": state,
        "priority": 0,
        "attempt": 1,
        "start_by": None,
        "no_retry": 0,
        "store_io": 1,
        "input": '{"prompt": "answer", "model": "echo/echo"}',
        "attachments": "{}",
        "webhook_url": None,
        "created_at": at,
        "started_at": at,
        "idempotency_key": None,
        "node": "",
        **more,
    }
    await server.house.db.write(lambda tx: tx.execute("insert_request", **values))
    return known


async def spend(server, key_id, cost, *, at=AT, model="m", provider="p", request_id="r"):
    values = {
        "call_id": uuid.uuid4().hex,
        "request_id": request_id,
        "attempt": 1,
        "key_id": key_id,
        "endpoint": EP,
        "mode": "run",
        "provider": provider,
        "model": model,
        "at": at,
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "total_tokens": 11,
        "cost": cost,
        "cost_source": "unknown" if cost is None else "billed",
        "upstream_id": None,
        "price_source": None,
        "settle_at": None,
    }
    await server.house.db.write(lambda tx: tx.execute("insert_ledger_entry", **values))


async def listed(call, query=""):
    answer = await call("GET", f"{BASE}/requests{query}")
    assert answer.status == 200, answer.body
    return [one["request_id"] for one in answer.json["requests"]]


async def uploaded(call, name="a.mp4", body=b"bytes"):
    headers = {"x-fal-file-name": name, "content-type": "video/mp4"}
    answer = await call("POST", "/files/upload", body=body, headers=headers)
    return answer.json["access_url"]


async def audit(server):
    entries = (await server.admin("GET", f"{BASE}/audit")).json["entries"]
    return [(e["actor"], e["action"], e["subject"]) for e in entries]


# ---------------------------------------------------------------- who may what


CALLS = [
    ("GET", "/requests"),
    ("GET", "/requests/changes"),
    ("POST", "/requests/{id}/replay"),
    ("POST", "/requests/{id}/cancel"),
    ("DELETE", "/requests/{id}/payload"),
    ("GET", "/usage"),
    ("GET", "/files"),
    ("DELETE", "/files/{file}"),
    ("GET", "/providers"),
]


def test_nobody_gets_anything_without_a_key(serve):
    async def test(server):
        known = await insert(server, server.plain.key_id)
        file = (await uploaded(server.call)).split("/")[-2]
        for method, path in CALLS:
            answer = await server.stranger(method, BASE + path.format(id=known, file=file))
            assert answer.status == 401, path
        assert (await server.call("GET", f"/files/{file}/a.mp4")).status == 200

    serve(test)


def test_a_temporary_token_for_an_endpoint_gets_nothing_here(serve):
    async def test(server):
        token = await server.call(
            "POST", "/rest/tokens/", {"allowed_apps": ["router"], "token_expiration": 60}
        )
        headers = {"authorization": f"Bearer {token.json}"}
        for method, path in CALLS:
            asked = BASE + path.format(id=uuid.uuid4(), file="f")
            answer = await server.stranger(method, asked, headers=headers)
            assert answer.status in (401, 403), path

    serve(test)


def test_a_plain_key_sees_and_touches_nothing_of_another(serve):
    async def test(server):
        theirs = await insert(server, server.boss.key_id)
        waiting = await insert(server, server.boss.key_id, state="queued", mode="queue")
        await spend(server, server.boss.key_id, "1", request_id=theirs)
        file = (await uploaded(server.admin)).split("/")[-2]
        call = server.call
        assert await listed(call) == []
        assert await listed(call, f"?key={server.boss.key_id}") == []
        assert await listed(call, "?state=succeeded") == []
        cursor = (await call("GET", f"{BASE}/requests/changes")).json["cursor"]
        await insert(server, server.boss.key_id)
        changes = await call("GET", f"{BASE}/requests/changes?cursor={cursor}")
        assert changes.json["requests"] == []
        assert (await call("GET", f"{BASE}/usage")).json["usage"] == []
        assert (await call("GET", f"{BASE}/files")).json["files"] == []
        assert (await call("POST", f"{BASE}/requests/{theirs}/replay")).status == 404
        assert (await call("POST", f"{BASE}/requests/{waiting}/cancel")).status == 404
        assert (await call("DELETE", f"{BASE}/requests/{theirs}/payload")).status == 404
        assert (await call("DELETE", f"{BASE}/files/{file}")).status == 404
        story = (await server.admin("GET", f"{BASE}/requests/{theirs}")).json
        assert story["input"] is not None
        assert (await call("GET", f"/files/{file}/a.mp4")).status == 200

    serve(test)


def test_an_administrator_sees_all_of_it(serve):
    async def test(server):
        theirs = await insert(server, server.plain.key_id)
        await spend(server, server.plain.key_id, "1")
        await uploaded(server.call)
        assert await listed(server.admin) == [theirs]
        assert await listed(server.admin, f"?key={server.plain.key_id}") == [theirs]
        assert await listed(server.admin, f"?key={server.boss.key_id}") == []
        usage = (await server.admin("GET", f"{BASE}/usage?by=key")).json["usage"]
        assert [(one["name"], one["label"]) for one in usage] == [(server.plain.key_id, "plain")]
        assert len((await server.admin("GET", f"{BASE}/files")).json["files"]) == 1

    serve(test)


def test_a_key_for_files_alone_replays_nothing(serve):
    async def test(server):
        key = await server.keys.create("f", ["FILES"])
        call = Browser(server.app, key=key.key)
        known = await insert(server, key.key_id)
        assert (await call("POST", f"{BASE}/requests/{known}/replay")).status == 403
        assert (await call("GET", f"{BASE}/files")).status == 200

    serve(test)


def test_a_key_for_calls_alone_has_no_files(serve):
    async def test(server):
        key = await server.keys.create("c", ["CALL"])
        call = Browser(server.app, key=key.key)
        assert (await call("GET", f"{BASE}/files")).status == 403
        assert (await call("DELETE", f"{BASE}/files/x")).status == 403
        assert (await call("GET", f"{BASE}/requests")).status == 200

    serve(test)


# ---------------------------------------------------------------- the list


def test_filters_let_through_what_they_say(serve):
    async def test(server):
        key = server.plain.key_id
        ids = {
            "done": await insert(server, key, at=AT - 4),
            "waits": await insert(server, key, at=AT - 3, state="queued", mode="queue"),
            "other": await insert(server, key, at=AT - 2, model="Google/Gem_ini%", endpoint="a/b"),
            "old": await insert(server, key, at=AT - 5 * DAY, mode="stream"),
        }
        for query, names in {
            "": ["other", "waits", "done", "old"],
            "?state=queued": ["waits"],
            "?state=queued,succeeded&mode=queue": ["waits"],
            "?mode=stream": ["old"],
            "?endpoint=a/b": ["other"],
            "?model=echo/echo&mode=run": ["done"],
            "?from=2026-03-09": ["other", "waits", "done"],
            "?to=2026-03-09": ["old"],
            "?search=gem_INI%25": ["other"],
            "?search=gemXini": [],
            f"?search={ids['old'][:13]}": ["old"],
        }.items():
            found = await listed(server.admin, query)
            # rows that were put in later come first where the index of one key leads there
            assert sorted(found) == sorted(ids[name] for name in names), query
            assert sorted(await listed(server.call, query)) == sorted(found), query

    serve(test)


def test_an_error_is_found_by_its_words(serve):
    async def test(server):
        failed = await server.house.submit("fail", key=server.plain.key_id)
        async for _ in server.house.queue.watch(failed, logs=False):
            pass
        assert await listed(server.call, "?search=no%20VIDEO") == [failed]
        assert await listed(server.call, "?search=no%20sound") == []

    serve(test)


@pytest.mark.parametrize(
    "query",
    [
        "state=x",
        "mode=x",
        "limit=0",
        "limit=x",
        "cursor=x",
        "from=x",
        "to=2026-13-01",
        "cursor=W10=",
    ],
)
def test_what_makes_no_sense_is_said(serve, query):
    async def test(server):
        return await server.call("GET", f"{BASE}/requests?{query}")

    answer = serve(test)
    assert answer.status == 400, answer.body
    assert "detail" in answer.json or "error" in answer.json


@pytest.mark.parametrize("who", ["call", "admin"])
def test_pages_have_no_gap_and_no_repeat_while_rows_come_in(serve, who):
    async def test(server):
        call, key = getattr(server, who), server.plain.key_id
        # all at the same moment: the place in the order of arrival decides
        old = [await insert(server, key) for _ in range(25)]
        found, query = [], "?limit=10"
        while True:
            answer = (await call("GET", f"{BASE}/requests{query}")).json
            found += [one["request_id"] for one in answer["requests"]]
            await insert(server, key)
            if not answer["has_more"]:
                break
            query = f"?limit=10&cursor={answer['next_cursor']}"
        assert found == old[::-1]

    serve(test)


def test_costs_in_the_list_are_exact_and_what_is_unknown_is_counted(serve):
    async def test(server):
        key = server.plain.key_id
        known = await insert(server, key)
        for cost in ("0.1", "0.2", None):
            await spend(server, key, cost, request_id=known)
        await insert(server, key, at=AT - 1)
        answer = await server.call("GET", f"{BASE}/requests?mode=run")
        return answer.json["requests"]

    first, second = serve(test)
    assert (first["cost"], first["total_tokens"], first["unknown_costs"]) == ("0.3", 33, 1)
    assert (second["cost"], second["total_tokens"], second["unknown_costs"]) == (None, None, 0)


def test_changes_tell_what_came_and_what_ended(serve):
    async def test(server):
        house = server.house
        await insert(server, server.plain.key_id, at=AT - 100)
        begin = (await server.call("GET", f"{BASE}/requests/changes")).json
        assert begin["requests"] == []
        path = f"{BASE}/requests/changes?cursor={begin['cursor']}"
        assert (await server.call("GET", path)).json["requests"] == []
        server.clock.now += 10
        known = await house.submit("answer", key=server.plain.key_id)
        async for _ in house.queue.watch(known, logs=False):
            pass
        [told] = (await server.call("GET", path)).json["requests"]
        assert (told["request_id"], told["state"]) == (known, "succeeded")
        later = (await server.call("GET", path)).json["cursor"]
        server.clock.now += 10
        after = (await server.call("GET", f"{BASE}/requests/changes?cursor={later}")).json
        # told again for a moment, for what is written late
        assert [one["request_id"] for one in after["requests"]] == [known]
        last = await server.call("GET", f"{BASE}/requests/changes?cursor={after['cursor']}")
        assert last.json["requests"] == []

    serve(test)


def test_the_answer_of_one_that_runs_is_told_as_far_as_it_is(serve):
    async def test(server):
        known = await server.house.submit("begin", key=server.plain.key_id)
        async for job in server.house.queue.watch(known, logs=True):
            if job.logs:
                break
        story = (await server.call("GET", f"{BASE}/requests/{known}")).json
        assert (story["output_so_far"], story["result_body"]) == ("Well: ", None)
        assert (await server.stranger("GET", f"{BASE}/requests/{known}")).status == 401
        server.house.pipeline.go.set()
        await server.house.ended(known)
        story = (await server.call("GET", f"{BASE}/requests/{known}")).json
        assert story["output_so_far"] is None
        assert story["result_body"]["output"] == "Well: The answer."

    serve(test)


# ---------------------------------------------------------------- replay, cancel, delete


async def over(server, known):
    async for job in server.house.queue.watch(known, logs=False):
        last = job
    return last


def test_a_replay_is_a_new_request_with_the_same_input(serve):
    async def test(server):
        known = await insert(server, server.plain.key_id, mode="stream")
        answer = await server.call("POST", f"{BASE}/requests/{known}/replay")
        assert answer.status == 202
        again = answer.json["request_id"]
        assert again != id
        assert (await over(server, again)).state == "succeeded"
        story = (await server.call("GET", f"{BASE}/requests/{again}")).json
        assert story["input"] == {"prompt": "answer", "model": "echo/echo"}
        assert story["mode"] == "queue"
        assert (server.plain.key_id, "request.replayed", known) in await audit(server)

    serve(test)


def test_whoever_replays_pays(serve):
    async def test(server):
        known = await insert(server, server.plain.key_id)
        again = (await server.admin("POST", f"{BASE}/requests/{known}/replay")).json["request_id"]
        await over(server, again)
        assert again not in await listed(server.call)
        assert again in await listed(server.admin, f"?key={server.boss.key_id}")

    serve(test)


def test_a_replay_keeps_to_the_limits_of_the_key(serve):
    async def test(server):
        limits = {"models": ("other/*",)}, {"per_minute": 1}, {"budget": Decimal("0.01")}
        statuses = []
        for limit in limits:
            key = await server.keys.create("x", limits=KeyLimits(**limit))
            call = Browser(server.app, key=key.key)
            known = await insert(server, key.key_id)
            await spend(server, key.key_id, "1")
            answers = [await call("POST", f"{BASE}/requests/{known}/replay") for _ in range(2)]
            statuses.append([one.status for one in answers])
        return statuses

    assert serve(test) == [[403, 403], [202, 429], [403, 403]]


def test_a_replay_of_what_is_no_longer_kept_says_so(serve):
    async def test(server):
        key = server.plain.key_id
        gone = "attachment:" + "0" * 32
        for more in (
            {"input": None},
            {"input": json.dumps({"video_urls": [gone]})},
            {
                "input": json.dumps({"video_urls": [gone]}),
                "attachments": json.dumps(
                    {gone: asdict(Attachment(content_type="video/mp4", object="nowhere"))}
                ),
            },
            {"endpoint": "no/such"},
        ):
            known = await insert(server, key, **more)
            answer = await server.call("POST", f"{BASE}/requests/{known}/replay")
            assert answer.status == 400, more
        assert "request.replayed" not in [action for _, action, _ in await audit(server)]

    serve(test)


def test_a_replay_keeps_the_bytes_that_came_with_the_first(serve):
    async def test(server):
        key = server.plain.key_id
        file = await server.files.find((await uploaded(server.call)).split("/")[-2])
        name = "attachment:" + "1" * 32
        attached = {name: asdict(Attachment(content_type="video/mp4", object=file.object))}
        body = {"prompt": "wait", "model": "echo/echo", "video_urls": [name]}
        known = await insert(server, key, input=json.dumps(body), attachments=json.dumps(attached))
        again = (await server.call("POST", f"{BASE}/requests/{known}/replay")).json["request_id"]
        await server.house.pipeline.began(1)
        refused = await server.call("DELETE", f"{BASE}/files/{file.id}")
        assert (refused.status, "needs" in refused.json["detail"]) == (400, True)
        server.house.pipeline.go.set()
        await over(server, again)
        assert (await server.call("DELETE", f"{BASE}/files/{file.id}")).status == 204

    serve(test)


def test_a_waiting_and_a_running_request_are_cancelled_and_an_ended_one_is_not(serve):
    async def test(server):
        key = server.plain.key_id
        running = await server.house.submit("wait", key=key)
        await server.house.pipeline.began(1)
        assert (await server.call("POST", f"{BASE}/requests/{running}/cancel")).status == 202
        assert (await over(server, running)).state == "cancelled"
        again = await server.call("POST", f"{BASE}/requests/{running}/cancel")
        assert (again.status, "ended" in again.json["detail"]) == (400, True)
        assert (key, "request.cancelled", running) in await audit(server)

    serve(test)


def test_a_live_call_can_be_stopped_by_its_id(serve):
    async def test(server):
        worker = server.house.worker
        call = request("wait", key=server.plain.key_id, mode="run")
        running = asyncio.create_task(worker.run(call))
        await server.house.pipeline.began(1)
        await server.house.db.write(lambda tx: tx.fetch("keys_all"))  # after what is on its way
        assert (await server.call("POST", f"{BASE}/requests/{call.id}/cancel")).status == 202
        result = await running
        assert result.status == 499
        assert server.house.pipeline.stopped == [call.id]
        await server.house.db.write(lambda tx: tx.fetch("keys_all"))
        story = (await server.call("GET", f"{BASE}/requests/{call.id}")).json
        assert story["state"] == "cancelled"
        assert worker.cancel(call.id) is False

    serve(test)


def test_a_live_call_of_another_server_is_left_to_its_caller(serve):
    async def test(server):
        known = await insert(server, server.plain.key_id, state="running")
        answer = await server.call("POST", f"{BASE}/requests/{known}/cancel")
        assert (answer.status, "caller" in answer.json["detail"]) == (400, True)

    serve(test)


def test_a_deleted_payload_is_gone_and_the_request_stays(serve):
    async def test(server):
        known = await server.house.submit("answer", key=server.plain.key_id)
        await over(server, known)
        assert (await server.call("DELETE", f"{BASE}/requests/{known}/payload")).status == 204
        story = (await server.call("GET", f"{BASE}/requests/{known}")).json
        assert (story["input"], story["result_body"], story["receipt"]) == (None, None, None)
        assert (story["state"], story["usage"][0]["cost"]) == ("succeeded", "0")
        assert (server.plain.key_id, "request.payload_deleted", known) in await audit(server)

    serve(test)


def test_the_payload_of_a_request_that_has_not_ended_stays(serve):
    async def test(server):
        known = await insert(server, server.plain.key_id, state="queued", mode="queue")
        return await server.call("DELETE", f"{BASE}/requests/{known}/payload")

    assert serve(test).status == 400


# ---------------------------------------------------------------- usage


def test_usage_adds_up_to_the_last_digit(serve):
    async def test(server):
        key = server.plain.key_id
        for _ in range(10):
            await spend(server, key, "0.1")
        await spend(server, key, "0.000000000001", model="n")
        await spend(server, key, None, model="n", at=AT - DAY)
        await spend(server, key, "5", at=AT - 40 * DAY)
        return {
            by: (await server.call("GET", f"{BASE}/usage?by={by}")).json["usage"]
            for by in ("day", "model", "key", "provider")
        }

    found = serve(test)
    assert [(one["name"], one["cost"], one["unknown_costs"]) for one in found["day"]] == [
        ("2026-03-09", None, 1),
        ("2026-03-10", "1.000000000001", 0),
    ]
    assert [(one["name"], one["cost"], one["calls"]) for one in found["model"]] == [
        ("p/m", "1.0", 10),
        ("p/n", "0.000000000001", 2),
    ]
    [provider] = found["provider"]
    assert (provider["prompt_tokens"], provider["total_tokens"]) == (120, 132)
    assert provider["cost"] == "1.000000000001"


def test_usage_has_a_beginning_and_an_end(serve):
    async def test(server):
        for days in range(4):
            await spend(server, server.plain.key_id, "1", at=AT - days * DAY)
        path = f"{BASE}/usage?from=2026-03-08&to=2026-03-10"
        answer = (await server.call("GET", path)).json
        assert [one["name"] for one in answer["usage"]] == ["2026-03-08", "2026-03-09"]
        for query in ("by=x", "from=2026-03-10&to=2026-03-10", "from=x"):
            assert (await server.call("GET", f"{BASE}/usage?{query}")).status == 400

    serve(test)


# ---------------------------------------------------------------- files, providers


def test_files_are_listed_and_deleted(serve):
    async def test(server):
        urls = [await uploaded(server.call, f"{n}.mp4", bytes([n])) for n in range(3)]
        first = (await server.call("GET", f"{BASE}/files?limit=2")).json
        rest = (
            await server.call("GET", f"{BASE}/files?limit=2&cursor={first['next_cursor']}")
        ).json
        files = first["files"] + rest["files"]
        assert sorted(file["url"] for file in files) == sorted(urls)
        assert not rest["has_more"]
        assert {(file["bytes"], file["content_type"]) for file in files} == {(1, "video/mp4")}
        known = files[0]["file_id"]
        assert (await server.call("DELETE", f"{BASE}/files/{known}")).status == 204
        assert (await server.call("DELETE", f"{BASE}/files/{known}")).status == 404
        gone = files[0]["url"].partition("localhost:8484")[2]
        assert (await server.call("GET", gone)).status == 404
        assert len((await server.call("GET", f"{BASE}/files")).json["files"]) == 2
        assert (server.plain.key_id, "file.deleted", known) in await audit(server)

    serve(test)


def test_deleting_one_of_two_files_with_the_same_bytes_leaves_the_other(serve):
    async def test(server):
        one, two = [await uploaded(server.call) for _ in range(2)]
        known = one.split("/")[-2]
        assert (await server.call("DELETE", f"{BASE}/files/{known}")).status == 204
        left = await server.call("GET", two.partition("localhost:8484")[2])
        assert (left.status, left.body) == (200, b"bytes")

    serve(test)


def test_an_expired_file_is_not_listed(serve):
    async def test(server):
        await uploaded(server.call)
        server.clock.now += 365 * DAY
        return await server.call("GET", f"{BASE}/files")

    assert serve(test).json["files"] == []


class Broken(Echo):
    checks = 0

    async def check(self):
        self.checks += 1
        return Health(is_ok=False, says="no answer (http://10.0.0.9/v1)", fix="start it")


def test_providers_are_told_with_their_health_and_addresses_to_administrators_alone(run):
    async def main():
        broken = Broken("lab")
        upstream = Upstream(type="openai", host="10.0.0.9", key_variable="LAB_KEY", has_key=True)
        locked = Locked(type="gemini", key_variables=("GEMINI_API_KEY",), fix="export it")
        held = [Pause("lab", "m", 12.0, "it failed at http://10.0.0.9")]
        parts = SimpleNamespace(
            registry=Registry({"lab": broken}, {}),
            upstreams={"lab": upstream},
            locked=[locked],
            inference=SimpleNamespace(held=lambda: held),
        )
        calls = ProviderCalls(parts)

        async def told(*scopes):
            caller = Caller("k", frozenset(scopes))
            asked = Request({"type": "http", "telecine.caller": caller})
            return (await calls.list(asked)).body.decode()

        return await told("ADMIN"), await told("API"), broken.checks

    admin, plain, checks = run(main())
    assert checks == 1
    [shown] = json.loads(admin)["providers"]
    assert shown == {
        "name": "lab",
        "type": "openai",
        "host": "10.0.0.9",
        "key_variable": "LAB_KEY",
        "has_key": True,
        "is_ok": False,
        "says": "no answer (http://10.0.0.9/v1)",
        "fix": "start it",
        "held": [{"model": "m", "seconds": 12, "why": "it failed at http://10.0.0.9"}],
    }
    assert json.loads(admin)["locked"][0]["key_variables"] == ["GEMINI_API_KEY"]
    assert "10.0.0.9" not in plain
    assert "LAB_KEY" not in plain
    assert json.loads(plain)["providers"][0]["is_ok"] is False


def test_what_is_deleted_through_fals_api_is_in_the_audit_log_too(serve):
    async def test(server):
        request_id = await insert(server, server.plain.key_id)
        path = f"/v1/models/requests/{request_id}/payloads"
        assert (await server.admin("DELETE", path)).status == 200
        return await audit(server)

    assert "request.payload_deleted" in [action for _, action, _ in serve(test)]
