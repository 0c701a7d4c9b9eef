"""Saved comparisons of models: who may what, what is kept of them, and what strangers send."""

import json
import uuid

import pytest
from tests.fakes.asgi import Browser

from telecine.api import sandboxes

BASE = "/telecine/v1/sandboxes"
INPUT = {"prompt": "answer", "video_urls": ["http://localhost:8484/files/x/a.mp4"]}
TWO = {"name": "Two", "input": INPUT, "columns": [{"model": "echo/echo"}, {"model": "b/c"}]}
UNKNOWN = str(uuid.UUID(int=7))


async def other(server):
    """A browser with a third key, which is no administrator's."""
    return Browser(server.app, key=(await server.keys.create("other")).key)


async def saved(server, **more):
    answer = await server.call("POST", BASE, {**TWO, **more})
    assert answer.status == 201, answer.body
    return answer.json


async def ended(server, do="answer", *, key=None, **more):
    """A request that is over, with its receipt."""
    request_id = await server.house.submit(do, key=key or server.plain.key_id, **more)
    async for _ in server.house.queue.watch(request_id, logs=False):
        pass
    return request_id


async def audit(server):
    entries = (await server.admin("GET", "/telecine/v1/audit")).json["entries"]
    return [(each["actor"], each["action"]) for each in entries if "sandbox" in each["action"]]


# ---------------------------------------------------------------- what is saved


def test_what_was_saved_is_there_again_and_in_the_list(serve):
    async def test(server):
        made = await saved(server)
        assert made["models"] == ["echo/echo", "b/c"]
        assert made["input"] == INPUT
        assert made["link"] is None
        assert (await server.call("GET", f"{BASE}/{made['sandbox_id']}")).json == made
        listed = (await server.call("GET", BASE)).json
        assert [each["name"] for each in listed["sandboxes"]] == ["Two"]
        assert "input" not in listed["sandboxes"][0]
        assert listed["has_more"] is False

    serve(test)


def test_a_change_replaces_all_that_it_said(serve):
    async def test(server):
        path = f"{BASE}/{(await saved(server))['sandbox_id']}"
        body = {"name": "One", "input": {"prompt": "p"}, "columns": [{"model": "b/c"}]}
        changed = (await server.call("PUT", path, body)).json
        assert (changed["name"], changed["models"]) == ("One", ["b/c"])
        assert changed["input"] == {"prompt": "p"}
        assert (await server.call("GET", path)).json == changed

    serve(test)


def test_the_list_goes_on_where_a_page_ended(serve):
    async def test(server):
        for number in range(5):
            await saved(server, name=str(number))
            server.clock.now += 1
        first = (await server.call("GET", f"{BASE}?limit=3")).json
        rest = (await server.call("GET", f"{BASE}?limit=3&cursor={first['next_cursor']}")).json
        names = [each["name"] for each in first["sandboxes"] + rest["sandboxes"]]
        assert names == ["4", "3", "2", "1", "0"]
        assert rest["has_more"] is False

    serve(test)


# ---------------------------------------------------------------- results


def test_a_result_is_what_the_server_kept_of_the_request(serve):
    async def test(server):
        request_id = await ended(server)
        columns = [{"model": "echo/echo", "request_id": request_id}]
        made = await saved(server, input={"prompt": "answer"}, columns=columns)
        story = (await server.call("GET", f"/telecine/v1/requests/{request_id}")).json
        result = made["columns"][0]["result"]
        assert result["output"] == story["result_body"]["output"] != ""
        assert result["receipt"] == story["receipt"]
        assert (result["state"], result["error"]) == ("succeeded", None)
        assert result["is_of_this_input"] is True

    serve(test)


def test_a_failure_is_kept_with_its_reason(serve):
    async def test(server):
        columns = [{"model": "echo/echo", "request_id": await ended(server, "fail")}]
        result = (await saved(server, columns=columns))["columns"][0]["result"]
        assert result["state"] == "failed"
        assert result["error"]

    serve(test)


def test_an_answer_to_another_question_is_marked(serve):
    async def test(server):
        columns = [{"model": "echo/echo", "request_id": await ended(server)}]
        made = await saved(server, input={"prompt": "another"}, columns=columns)
        assert made["columns"][0]["result"]["is_of_this_input"] is False

    serve(test)


def test_a_result_outlives_the_payloads_that_expired(serve):
    async def test(server):
        request_id = await ended(server)
        columns = [{"model": "echo/echo", "request_id": request_id}]
        made = await saved(server, columns=columns)
        values = {"now": server.clock.now + 10**9, "limit": 100}
        await server.house.db.write(lambda tx: tx.fetch("expire_payloads", **values))
        path = f"{BASE}/{made['sandbox_id']}"
        again = (await server.call("PUT", path, {**TWO, "columns": columns})).json
        assert again["columns"] == made["columns"]

    serve(test)


def test_deleting_the_payloads_of_a_request_deletes_the_copies(serve):
    async def test(server):
        request_id = await ended(server)
        columns = [{"model": "echo/echo", "request_id": request_id}]
        path = f"{BASE}/{(await saved(server, columns=columns))['sandbox_id']}"
        gone = await server.call("DELETE", f"/telecine/v1/requests/{request_id}/payload")
        assert gone.status == 204
        assert (await server.call("GET", path)).json["columns"][0]["result"] is None

    serve(test)


@pytest.mark.parametrize("whose", ["nobody's", "another's", "running"])
def test_a_request_that_is_not_ones_own_or_not_over_gives_no_result(serve, whose):
    async def test(server):
        key = server.boss.key_id if whose == "another's" else server.plain.key_id
        if whose == "nobody's":
            request_id = UNKNOWN
        elif whose == "another's":
            request_id = await ended(server, key=key)
        else:
            request_id = await server.house.submit("wait", key=key)
            await server.house.pipeline.began(1)
        columns = [{"model": "echo/echo", "request_id": request_id}]
        answer = await server.call("POST", BASE, {**TWO, "columns": columns})
        listed = await server.call("GET", BASE)
        server.house.pipeline.go.set()
        assert answer.status == 400
        assert request_id in answer.json["detail"]
        assert listed.json["sandboxes"] == []

    serve(test)


def test_nobody_can_put_a_result_there_himself(serve):
    async def test(server):
        columns = [{"model": "echo/echo", "result": {"output": "invented"}}]
        assert (await server.call("POST", BASE, {**TWO, "columns": columns})).status == 400

    serve(test)


# ---------------------------------------------------------------- who may what


def test_a_sandbox_is_its_own_keys_and_administrators(serve):
    async def test(server):
        path = f"{BASE}/{(await saved(server))['sandbox_id']}"
        stranger = await other(server)
        for method, body in [("GET", None), ("PUT", TWO), ("DELETE", None)]:
            send = (body,) if body else ()
            assert (await stranger(method, path, *send)).status == 404, method
            assert (await server.stranger(method, path, *send)).status == 401, method
        assert (await stranger("GET", BASE)).json["sandboxes"] == []
        assert (await server.stranger("GET", BASE)).status == 401
        assert (await server.stranger("POST", BASE, TWO)).status == 401
        assert (await server.admin("GET", path)).status == 200
        assert len((await server.admin("GET", BASE)).json["sandboxes"]) == 1
        assert (await server.admin("PUT", path, TWO)).status == 200
        assert (await server.admin("DELETE", path)).status == 204
        assert (await server.call("GET", path)).status == 404

    serve(test)


def test_a_link_opens_it_to_every_key_and_to_read_only(serve):
    async def test(server):
        made = await saved(server, is_shared=True)
        link = f"{BASE}/{made['link']}"
        stranger = await other(server)
        seen = (await stranger("GET", link)).json
        assert seen["may_change"] is False
        assert seen["sandbox_id"] is None
        assert seen["columns"] == made["columns"]
        assert (await stranger("PUT", link, TWO)).status == 404
        assert (await stranger("DELETE", link)).status == 404
        assert (await server.stranger("GET", link)).status == 401
        own = (await server.call("GET", link)).json
        assert (own["may_change"], own["sandbox_id"]) == (True, made["sandbox_id"])

    serve(test)


def test_a_link_that_is_taken_back_opens_nothing_and_comes_not_again(serve):
    async def test(server):
        made = await saved(server, is_shared=True)
        path = f"{BASE}/{made['sandbox_id']}"
        same = (await server.call("PUT", path, {**TWO, "is_shared": True})).json
        assert same["link"] == made["link"]
        assert (await server.call("PUT", path, TWO)).json["link"] is None
        assert (await server.call("GET", f"{BASE}/{made['link']}")).status == 404
        again = (await server.call("PUT", path, {**TWO, "is_shared": True})).json["link"]
        assert again not in (None, made["link"])
        who = server.plain.key_id
        assert await audit(server) == [
            (who, "sandbox.shared"),
            (who, "sandbox.unshared"),
            (who, "sandbox.shared"),
        ]

    serve(test)


def test_links_are_not_to_be_guessed(serve):
    async def test(server):
        links = {(await saved(server, is_shared=True))["link"] for _ in range(20)}
        assert len(links) == 20
        assert min(map(len, links)) >= 22

    serve(test)


def test_an_administrators_delete_is_in_the_audit_log(serve):
    async def test(server):
        made = await saved(server)
        await server.admin("DELETE", f"{BASE}/{made['sandbox_id']}")
        assert await audit(server) == [(server.boss.key_id, "sandbox.deleted")]

    serve(test)


# ---------------------------------------------------------------- strangers' JSON, limits


def deep(levels):
    found = {}
    for _ in range(levels):
        found = {"a": [found]}
    return found


WRONG = [
    {},
    {"columns": []},
    {"columns": [{"model": "m"}] * 7},
    {"columns": [{"model": ""}]},
    {"columns": [{"model": "m" * 301}]},
    {"columns": [{"model": "a\0b"}]},
    {"columns": [{"model": "\ud800"}]},
    {"columns": [{"model": "m", "request_id": "../../x"}]},
    {"columns": [{"model": "m", "request_id": 7}]},
    {"columns": ["m"]},
    {"columns": {"0": {"model": "m"}}},
    {"name": "n" * 201, "columns": [{"model": "m"}]},
    {"name": 7, "columns": [{"model": "m"}]},
    {"endpoint": "no/such", "columns": [{"model": "m"}]},
    {"endpoint": "openrouter/router/openai/v1/chat/completions", "columns": [{"model": "m"}]},
    {"input": [], "columns": [{"model": "m"}]},
    {"input": {"model": "m"}, "columns": [{"model": "m"}]},
    {"input": deep(20), "columns": [{"model": "m"}]},
    {"input": deep(300), "columns": [{"model": "m"}]},
    {"is_shared": "perhaps", "columns": [{"model": "m"}]},
    {"key_id": "mine", "columns": [{"model": "m"}]},
]


@pytest.mark.parametrize("body", WRONG, ids=lambda body: json.dumps(body)[:40])
def test_what_is_no_sandbox_is_refused_and_nothing_is_kept(serve, body):
    async def test(server):
        path = f"{BASE}/{(await saved(server))['sandbox_id']}"
        before = (await server.call("GET", path)).json
        for method, where in [("POST", BASE), ("PUT", path)]:
            answer = await server.call(method, where, body)
            assert answer.status == 400, answer.body
            assert answer.json["detail"]
        assert (await server.call("GET", path)).json == before
        assert len((await server.call("GET", BASE)).json["sandboxes"]) == 1

    serve(test)


@pytest.mark.parametrize(("raw", "status"), [(b"{", 422), (b"[" * 99999, 422), (b"7", 422)])
def test_what_is_no_json_object_is_refused(serve, raw, status):
    assert serve(lambda server: server.call("POST", BASE, body=raw)).status == status


def test_a_body_is_bounded(serve):
    body = {**TWO, "input": {"prompt": "p" * 300_000}}
    assert serve(lambda server: server.call("POST", BASE, body)).status == 413


def test_any_text_of_an_input_comes_back_as_it_was(serve):
    async def test(server):
        given = {"prompt": "a\0b \ud800 \N{SNOWMAN} </script>", "seed": 2**53}
        made = await saved(server, input=given)
        assert (await server.call("GET", f"{BASE}/{made['sandbox_id']}")).json["input"] == given

    serve(test)


def test_a_key_keeps_so_many_and_no_more(serve, monkeypatch):
    monkeypatch.setattr(sandboxes, "MOST_PER_KEY", 2)

    async def test(server):
        first = await saved(server)
        await saved(server)
        answer = await server.call("POST", BASE, TWO)
        assert answer.status == 400
        assert "2" in answer.json["detail"]
        assert (await server.admin("POST", BASE, TWO)).status == 201
        await server.call("DELETE", f"{BASE}/{first['sandbox_id']}")
        assert (await server.call("POST", BASE, TWO)).status == 201

    serve(test)


def test_a_long_answer_is_cut_and_says_so(serve, monkeypatch):
    monkeypatch.setattr(sandboxes, "MAX_OUTPUT", 3)

    async def test(server):
        columns = [{"model": "echo/echo", "request_id": await ended(server)}]
        result = (await saved(server, columns=columns))["columns"][0]["result"]
        assert (len(result["output"]), result["is_cut"]) == (3, True)

    serve(test)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=x", "cursor=W10="])
def test_a_list_that_is_asked_for_wrongly_is_400(serve, query):
    assert serve(lambda server: server.call("GET", f"{BASE}?{query}")).status == 400
