"""What is shown of webhooks: the HTTP API, the command line, the sink, and the recipe for receivers."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from starlette.routing import Router
from tests.fakes.asgi import Browser
from tests.fakes.jobs import House
from tests.fakes.webhooks import NOTHING, OK, Receiver, client, deliverer
from typer.testing import CliRunner

from telecine.api import webhooks
from telecine.api.auth import Guard
from telecine.api.edge import Edge
from telecine.cli import sink
from telecine.cli import webhooks as command
from telecine.cli.common import Failed
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.signing import FILE, SigningKeys
from telecine.keys import Keys

BASE = "/telecine/v1/deliveries"
GUIDE = Path(__file__).parents[2] / "docs/how-to/webhooks.md"


class Server:
    """The routes of webhooks over a house with a deliverer; callers are an owner, another key, and
    an administrator."""

    def __init__(self, folder, url=None):
        self.folder = folder
        self._url = url
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self):
        enter = self._stack.enter_async_context
        self.house = house = await enter(House(self.folder, url=self._url))
        net = await enter(client())
        self.deliverer = await enter(deliverer(house.db, net, self.folder, bells=house.bells))
        keys = Keys(db=house.db, clock=time.time, secret=bytes(32))
        deliveries = Deliveries(db=house.db, bells=house.bells, clock=time.time)
        self.signing = SigningKeys(self.folder / FILE, clock=time.time)
        app = Edge(Router(webhooks.routes(Guard(keys), deliveries, self.signing, keys)))
        owner, other = await keys.create(), await keys.create()
        admin = await keys.create(scopes=("API", "ADMIN"))
        self.owner_id = owner.key_id
        self.owner, self.other, self.admin = (
            Browser(app, key=key.key) for key in (owner, other, admin)
        )
        self.nobody = Browser(app, key=None)
        return self

    async def __aexit__(self, *error):
        await self._stack.__aexit__(*error)

    async def delivered(self, url, state="delivered"):
        """The request whose webhook went there."""
        with self.house.bells.listen_to_all() as bell:
            request_id = await self.house.submit(key=self.owner_id, webhook_url=url)
            while (await self.last(request_id))["state"] != state:
                await bell.heard(0.5)
        return request_id

    async def last(self, request_id):
        answer = await self.owner("GET", f"{BASE}?request_id={request_id}")
        found = answer.json["deliveries"]
        return found[0] if found else {"state": None}


@pytest.fixture
def serve(run, tmp_path, database_url):
    return server_for(run, tmp_path, database_url)


@pytest.fixture
def serve_sqlite(run, tmp_path):
    """For what is looked at from outside as well."""
    return server_for(run, tmp_path, None)


def server_for(run, folder, url):
    def serve(test):
        async def main():
            async with Server(folder, url) as server:
                await test(server)

        run(main())

    return serve


# ---------------------------------------------------------------- the API


@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/rest/.well-known/jwks.json"])
def test_the_public_keys_are_for_everybody(serve, path):
    async def test(server):
        answer = await server.nobody("GET", path)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert answer.json == server.signing.jwks()
        assert "d" not in answer.json["keys"][0]

    serve(test)


def test_a_delivery_is_shown_with_every_attempt_and_without_the_query(serve):
    async def test(server):
        async with Receiver(NOTHING, OK) as receiver:
            request_id = await server.delivered(f"{receiver.url}?token=secret")
            (row,) = (await server.owner("GET", BASE)).json["deliveries"]
            assert (row["request_id"], row["state"], row["attempt"]) == (request_id, "delivered", 2)
            assert (row["last_status"], row["last_detail"]) == (200, "ok")
            assert (row["url"], row["next_at"]) == (receiver.url, None)
            answer = await server.owner("GET", f"{BASE}/{row['id']}")
            assert b"secret" not in answer.body
            attempts = answer.json["attempts"]
            assert [each["status"] for each in attempts] == [500, 200]
            assert all(each["seconds"] > 0 and each["at"].endswith("Z") for each in attempts)

    serve(test)


def test_a_key_sees_its_own_deliveries_and_an_administrator_all(serve):
    async def test(server):
        async with Receiver() as receiver:
            await server.delivered(receiver.url)
            assert len((await server.admin("GET", BASE)).json["deliveries"]) == 1
            assert (await server.other("GET", BASE)).json["deliveries"] == []
            for method, path in (("GET", f"{BASE}/1"), ("POST", f"{BASE}/1/replay")):
                assert (await server.other(method, path)).status == 404
                assert (await server.nobody(method, path)).status == 401
            assert (await server.admin("GET", f"{BASE}/1")).status == 200
            assert (await server.admin("POST", f"{BASE}/1/replay")).status == 202

    serve(test)


def test_deliveries_come_in_pages_and_by_request_and_state(serve):
    async def test(server):
        async with Receiver() as receiver:
            ids = [await server.delivered(receiver.url) for _ in range(3)]
            dead = await server.delivered("http://127.0.0.1:1/", "dead")
            seen, query = [], f"{BASE}?limit=3"
            page = (await server.owner("GET", query)).json
            seen += page["deliveries"]
            assert page["has_more"]
            page = (await server.owner("GET", f"{query}&cursor={page['next_cursor']}")).json
            seen += page["deliveries"]
            assert (page["has_more"], page["next_cursor"]) == (False, None)
            assert [row["request_id"] for row in seen] == [dead, *reversed(ids)]
            for query, found in ((f"request_id={ids[1]}", [ids[1]]), ("state=dead", [dead])):
                rows = (await server.owner("GET", f"{BASE}?{query}")).json["deliveries"]
                assert [row["request_id"] for row in rows] == found

    serve(test)


def test_a_replay_is_answered_with_the_delivery_that_does_it(serve):
    async def test(server):
        async with Receiver() as receiver:
            request_id = await server.delivered(receiver.url)
            answer = await server.owner("POST", f"{BASE}/1/replay")
            assert (answer.status, answer.json["id"]) == (202, 2)
            assert answer.json["request_id"] == request_id
            await receiver.received(2)

    serve(test)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{BASE}/99", 404),
        (f"{BASE}/x", 404),
        (f"{BASE}/-1", 404),
        (f"{BASE}/{'9' * 30}", 404),
        (f"{BASE}/%C2%B2", 404),
        (f"{BASE}?state=lost", 400),
        (f"{BASE}?limit=0", 400),
        (f"{BASE}?limit=201", 400),
        (f"{BASE}?cursor=x", 400),
    ],
)
def test_what_makes_no_sense_is_refused(serve, path, status):
    async def test(server):
        assert (await server.owner("GET", path)).status == status

    serve(test)


# ---------------------------------------------------------------- the command line


@pytest.fixture
def webhooks_command(tmp_path, monkeypatch):
    """Run `telecine webhooks ARGUMENTS` on the data of this test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TELECINE_DATA_DIR", str(tmp_path))

    def run(*arguments):
        return CliRunner().invoke(command.app, list(arguments), catch_exceptions=False)

    return run


def test_the_command_lists_shows_and_replays(serve_sqlite, webhooks_command):
    async def test(server):
        def webhooks(*arguments):
            return asyncio.to_thread(webhooks_command, *arguments)

        async with Receiver(NOTHING, OK) as receiver:
            request_id = await server.delivered(f"{receiver.url}?secret")
            (row,) = json.loads((await webhooks("list", "--json")).stdout)
            assert (row["request_id"], row["last_status"]) == (request_id, 200)
            assert json.loads((await webhooks("list", "--json", "--state", "dead")).stdout) == []
            told = (await webhooks("show", "1")).stdout
            assert request_id in told
            assert re.search(r"^1 .* 500", told, re.MULTILINE)
            assert re.search(r"^2 .* 200 +ok$", told, re.MULTILINE)
            assert "secret" not in told
            attempts = json.loads((await webhooks("show", "1", "--json")).stdout)["attempts"]
            assert [each["attempt"] for each in attempts] == [1, 2]
            assert (await webhooks("replay", "1")).stdout == "delivery 2 is due now\n"
            await receiver.received(3)
            with pytest.raises(Failed, match="name a delivery, or a request"):
                await webhooks("replay")

    serve_sqlite(test)


def test_the_command_rotates_keys_and_shows_only_their_public_half(webhooks_command, tmp_path):
    assert "signs now" in webhooks_command("keys").stdout
    assert " signs from " in webhooks_command("rotate-key").stdout
    keys = json.loads(webhooks_command("keys", "--json").stdout)
    assert [key["signs_now"] for key in keys] == [True, False]
    private = {key["d"] for key in json.loads((tmp_path / FILE).read_text())["keys"]}
    assert not any(each in webhooks_command("keys", "--json").stdout for each in private)
    webhooks_command("rotate-key", "--now")
    (key,) = json.loads(webhooks_command("keys", "--json").stdout)
    assert key["kid"] not in {each["kid"] for each in keys}


# ---------------------------------------------------------------- the sink


@pytest.fixture
def signed(tmp_path):
    keys = SigningKeys(tmp_path / FILE, clock=time.time)

    def signed(document):
        body = json.dumps(document).encode()
        return keys, keys.sign("r-1", "u", body), body

    return signed


async def deliver_to_sink(net, jwks_url, headers, body, **options):
    keys = sink.Keys(net, jwks_url)
    call = Browser(sink.Sink(keys.problem, **{"status": 200, "as_json": False, **options}))
    headers = {**headers, "content-length": str(len(body))}
    return await call("POST", "/anything", body=body, headers=headers)


async def serving(document):
    """A JWKS on a real socket."""
    raw = json.dumps(document).encode()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"


@pytest.mark.parametrize("is_good", [True, False])
def test_the_sink_says_whether_a_delivery_is_verified(run, signed, capsys, is_good):
    async def work():
        keys, headers, body = signed({"status": "OK", "payload": {"output": "ein Käfer \x1b[2J"}})
        server, url = await serving(keys.jwks())
        async with server, client() as net:
            sent = body if is_good else body + b" "
            answer = await deliver_to_sink(net, url, headers, sent, status=503)
        assert answer.status == 503

    run(work())
    said = capsys.readouterr().out
    assert ("request r-1  verified, signed " in said) == is_good
    assert ("NOT VERIFIED: the signature is of none of the keys" in said) != is_good
    assert "ein Käfer" in said
    assert "\x1b" not in said


def test_the_sink_says_when_there_are_no_keys(run, signed, capsys):
    async def work():
        _, headers, body = signed({})
        async with client() as net:
            await deliver_to_sink(net, "http://127.0.0.1:1/", headers, body, as_json=True)

    run(work())
    told = json.loads(capsys.readouterr().out)
    assert (told["is_verified"], told["request_id"], told["body"]) == (False, "r-1", {})
    assert told["problem"].startswith("no keys from http://127.0.0.1:1/")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 100_000, b"text"])
def test_the_sink_takes_whatever_is_sent(run, capsys, body):
    async def work():
        async with client() as net:
            answer = await deliver_to_sink(net, "http://127.0.0.1:1/", {}, body)
            assert answer.status == 200

    run(work())
    assert "NOT VERIFIED" in capsys.readouterr().out


# ---------------------------------------------------------------- the recipe


def recipe(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return code


def test_the_recipe_for_python_verifies(signed):
    keys, headers, body = signed({"status": "OK"})
    module = {}
    exec(recipe("python"), module)
    is_from_telecine = module["is_from_telecine"]
    assert is_from_telecine(headers, body, keys.jwks())
    assert not is_from_telecine(headers, body + b" ", keys.jwks())
    assert not is_from_telecine(headers, body, {"keys": []})
    old = {**headers, "X-Fal-Webhook-Timestamp": str(int(time.time()) - 301)}
    assert not is_from_telecine(old, body, keys.jwks())


def test_the_recipe_for_javascript_verifies(signed, tmp_path):
    keys, headers, body = signed({"status": "OK"})
    (tmp_path / "recipe.mjs").write_text(recipe("js"))
    headers = {name.lower(): value for name, value in headers.items()}
    script = (
        'import { isFromTelecine } from "./recipe.mjs";'
        "const [headers, body, jwks] = JSON.parse(process.env.GIVEN);"
        "const check = (text) => isFromTelecine(headers, Buffer.from(text), jwks);"
        'console.log(check(body), check(body + " "), isFromTelecine(headers, body, {keys: []}));'
    )
    given = json.dumps([headers, body.decode(), keys.jwks()])
    told = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        cwd=tmp_path, env={**os.environ, "GIVEN": given}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "true false false\n"
