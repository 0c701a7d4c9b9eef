"""The upload and file routes, in process: real SQLite, real folder, requests through the whole edge."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import pytest

from telecine.api.parts import Parts
from telecine.api.routes import application
from telecine.db.sqlite import SQLite
from telecine.files import Files
from telecine.jobs.bells import Bells
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.signing import SigningKeys
from telecine.keys import Keys
from telecine.media.spool import Spool
from telecine.providers.registry import Registry
from telecine.storage.local import LocalStorage

ORIGIN = "http://telecine.test"
INITIATE = "/rest/storage/upload/initiate"
V3 = {"storage_type": "fal-cdn-v3"}
CLIP = {"content_type": "video/mp4", "file_name": "clip.mp4"}


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """A server's HTTP side with a client that has a key."""

    @asynccontextmanager
    async def opened(**options):
        async with (
            SQLite(tmp_path / "db") as db,
            LocalStorage(tmp_path / "objects") as storage,
            Spool(
                tmp_path / "spool", max_bytes_per_key=9_000_000, max_file_bytes=5_000_000
            ) as spool,
        ):
            keys = Keys(db=db, clock=clock, secret=bytes(32))
            files = Files(db=db, storage=storage, clock=clock, max_file_bytes=5_000_000)
            app = application(
                Parts(
                    db=db,
                    deliveries=Deliveries(db=db, bells=Bells(), clock=clock),
                    signing_keys=SigningKeys(tmp_path / "webhook-keys.json", clock=clock),
                    storage=storage,
                    files=files,
                    keys=keys,
                    spool=spool,
                    registry=Registry({}, {}),
                    inference=None,
                    queue=None,
                    worker=None,
                    **options,
                )
            )
            key = (await keys.create()).key
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                yield SimpleNamespace(
                    app=app,
                    db=db,
                    keys=keys,
                    files=files,
                    spool=spool,
                    storage=storage,
                    key=key,
                    http=client,
                    authorization={"authorization": f"Key {key}"},
                )

    return opened


async def initiate(server, path=INITIATE, **headers):
    answer = await server.http.post(
        path, params=V3, json=CLIP, headers={**server.authorization, **headers}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["upload_url"], answer.json()["file_url"]


async def uploaded(server, content, content_type="video/mp4", **headers):
    answer = await server.http.post(
        "/files/upload",
        content=content,
        headers={
            **server.authorization,
            "content-type": content_type,
            "x-fal-file-name": "c.mp4",
            **headers,
        },
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["uploaded"] is True
    return answer.json()["access_url"]


async def stored(server):
    keys = server.storage.keys()
    return [key async for key in keys]


# ---------------------------------------------------------------- one PUT


@pytest.mark.parametrize("storage_type", [{}, V3, {"storage_type": "gcs"}])
def test_an_uploaded_file_comes_back_with_its_bytes_and_type(opened, run, storage_type):
    async def story():
        async with opened() as server:
            answer = await server.http.post(
                INITIATE, params=storage_type, json=CLIP, headers=server.authorization
            )
            upload_url, file_url = answer.json()["upload_url"], answer.json()["file_url"]
            assert file_url.startswith(f"{ORIGIN}/files/")
            assert file_url.endswith("/clip.mp4")
            assert (await server.http.get(file_url)).status_code == 404
            sent = await server.http.put(upload_url, content=b"bytes")
            assert sent.status_code == 200
            got = await server.http.get(file_url)
            assert got.content == b"bytes"
            assert got.headers["content-type"] == "video/mp4"
            assert got.headers["etag"] == sent.headers["etag"]

    run(story())


def test_an_upload_url_needs_its_own_secret_and_no_key(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server)
            for url in (file_url, f"{file_url}?upload=", f"{upload_url}x"):
                refused = await server.http.put(url, content=b"x", headers=server.authorization)
                assert refused.status_code == 403
            wrong_key = {"authorization": "Key wrong:key"}
            assert (
                await server.http.put(upload_url, content=b"x", headers=wrong_key)
            ).status_code == 200

    run(story())


def test_sending_the_upload_again_changes_nothing(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server)
            for content, status in ((b"x", 200), (b"x", 200), (b"y", 400)):
                assert (await server.http.put(upload_url, content=content)).status_code == status
            assert (await server.http.get(file_url)).content == b"x"
            assert len(await stored(server)) == 1

    run(story())


@pytest.mark.parametrize(
    "path",
    [
        INITIATE,
        f"{INITIATE}-multipart",
        "/rest/storage/auth/token",
        "/rest/tokens/",
        "/files/upload",
        "/files/upload/multipart",
    ],
)
def test_starting_an_upload_needs_a_key(opened, run, path):
    async def story():
        async with opened() as server:
            for headers, says in (
                ({}, "Authentication is required"),
                ({"authorization": "Key a:b"}, "invalid key credentials"),
            ):
                answer = await server.http.post(path, json=CLIP, headers=headers)
                assert answer.status_code == 401
                assert says in answer.json()["detail"]

    run(story())


def test_a_temporary_token_cannot_upload_nor_make_tokens(opened, run):
    async def story():
        async with opened() as server:
            caller = await server.keys.check(f"Key {server.key}")
            bearer = {"authorization": f"Bearer {server.keys.token(caller, ['router'], 60)}"}
            for path in (INITIATE, "/rest/storage/auth/token", "/rest/tokens/"):
                answer = await server.http.post(path, json=CLIP, headers=bearer)
                assert answer.status_code == 403
            assert (await server.http.post("/files/upload", headers=bearer)).status_code == 401

    run(story())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b'{"file_name": 1}', 422),
        (b"[" * 60_000, 422),
        (b" " * 70_000, 413),
        (b"\xff", 422),
        (b"{}", 200),
        (b'{"file_name": null, "content_type": null}', 200),
    ],
)
def test_initiate_answers_every_body_with_a_sentence(opened, run, body, status):
    async def story():
        async with opened() as server:
            answer = await server.http.post(INITIATE, content=body, headers=server.authorization)
            assert answer.status_code == status
            assert answer.json()

    run(story())


def test_an_unknown_storage_type_is_refused_as_fal_does(opened, run):
    async def story():
        async with opened() as server:
            answer = await server.http.post(
                INITIATE, params={"storage_type": "ftp"}, json=CLIP, headers=server.authorization
            )
            assert (answer.status_code, answer.json()["detail"]) == (400, "Invalid storage type")

    run(story())


def test_urls_follow_the_public_address_and_fals_host_names(opened, run):
    async def story():
        async with opened(public_url="https://video.example") as server:
            upload_url, file_url = await initiate(server)
            assert upload_url.startswith("https://video.example/files/")
            assert file_url.startswith("https://video.example/files/")
        async with opened() as server:
            answer = await server.http.post(
                "/storage/upload/initiate",
                json=CLIP,
                headers={**server.authorization, "host": "rest.fal.ai"},
            )
            url = httpx.URL(answer.json()["upload_url"])
            assert url.host == "v3.fal.media"
            sent = await server.http.put(
                f"{ORIGIN}{url.raw_path.decode()}", content=b"x", headers={"host": url.host}
            )
            assert sent.status_code == 200

    run(story())


# ---------------------------------------------------------------- parts, as JavaScript sends them


async def send_parts(server, upload_url, pieces):
    path, _, query = upload_url.partition("?")
    listed = []
    for number, piece in enumerate(pieces, 1):
        answer = await server.http.put(f"{path}/{number}?{query}", content=piece)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["etag"] == f'"{answer.json()["etag"]}"'
        assert answer.json()["partNumber"] == number
        listed.append(answer.json())
    return f"{path}/complete?{query}", listed


def test_parts_become_the_file_when_the_upload_is_completed(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server, f"{INITIATE}-multipart")
            complete, listed = await send_parts(server, upload_url, [b"a" * 100_000, b"b"])
            assert (await server.http.get(file_url)).status_code == 404
            for _ in range(2):
                assert (await server.http.post(complete, json={"parts": listed})).status_code == 200
            assert (await server.http.get(file_url)).content == b"a" * 100_000 + b"b"
            assert len(await stored(server)) == 1

    run(story())


def test_completing_with_a_wrong_or_missing_part_is_refused(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server, f"{INITIATE}-multipart")
            complete, (one, two) = await send_parts(server, upload_url, [b"a", b"b"])
            for body in (
                {"parts": []},
                {},
                {"parts": {}},
                {"parts": [one]},
                {"parts": [one, {**two, "etag": "x"}]},
                {"parts": [one, {"partNumber": 2}]},
                {"parts": [one, two, {"partNumber": 3, "etag": "x"}]},
            ):
                answer = await server.http.post(complete, json=body)
                assert answer.status_code == 400, body
            assert (await server.http.get(file_url)).status_code == 404
            assert (await server.http.post(complete, json={"parts": [two, one]})).status_code == 200

    run(story())


def test_a_part_needs_the_secret_and_a_number(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server, f"{INITIATE}-multipart")
            query = upload_url.partition("?")[2]
            assert (await server.http.put(f"{file_url}/1", content=b"x")).status_code == 403
            assert (await server.http.put(f"{file_url}/0?{query}", content=b"x")).status_code == 400
            for number, status in (
                ("99999", 400),
                ("9" * 5000, 404),
                ("x", 404),
                ("٣", 404),
                ("-1", 404),
            ):
                answer = await server.http.put(f"{file_url}/{number}?{query}", content=b"x")
                assert answer.status_code == status

    run(story())


# ---------------------------------------------------------------- the CDN, as Python uses it


async def cdn(server):
    answer = await server.http.post(
        "/rest/storage/auth/token", params=V3, json={}, headers=server.authorization
    )
    token = answer.json()
    return token, {"authorization": f"{token['token_type']} {token['token']}"}


def test_a_cdn_token_has_what_the_client_needs(opened, run, clock):
    async def story():
        async with opened() as server:
            token, _ = await cdn(server)
            assert token["token_type"] == "Bearer"
            assert token["base_url"] == ORIGIN
            assert token["created_at"].endswith("+00:00")
            assert token["expires_at"].endswith("+00:00")
            assert datetime.fromisoformat(token["expires_at"]) > datetime.fromtimestamp(
                clock.now, UTC
            )

    run(story())


@pytest.mark.parametrize("prefix", ["", "/cdn"])
def test_a_cdn_upload_is_one_post(opened, run, prefix):
    async def story():
        async with opened() as server:
            _, bearer = await cdn(server)
            answer = await server.http.post(
                f"{prefix}/files/upload",
                content=b"bytes",
                headers={**bearer, "content-type": "video/webm", "x-fal-file-name": "x.webm"},
            )
            got = await server.http.get(answer.json()["access_url"])
            assert (got.content, got.headers["content-type"]) == (b"bytes", "video/webm")

    run(story())


def test_cdn_parts_may_come_at_once_and_be_listed_in_any_order(opened, run):
    pieces = [bytes([number]) * 50_000 for number in range(1, 21)]

    async def story():
        async with opened() as server:
            token, bearer = await cdn(server)
            begun = await server.http.post(
                f"{token['base_url']}/files/upload/multipart",
                headers={**bearer, "content-type": "video/mp4", "x-fal-file-name": "big.mp4"},
            )
            url = f"{begun.json()['access_url']}/multipart/{begun.json()['uploadId']}"

            async def send(number):
                answer = await server.http.put(
                    f"{url}/{number}", content=pieces[number - 1], headers=bearer
                )
                return {"partNumber": number, "etag": answer.headers["etag"]}

            listed = await asyncio.gather(*(send(number) for number in range(20, 0, -1)))
            done = await server.http.post(f"{url}/complete", json={"parts": listed}, headers=bearer)
            assert done.status_code == 200
            assert (await server.http.get(begun.json()["access_url"])).content == b"".join(pieces)

    run(story())


def test_a_cdn_part_needs_the_upload_id_and_the_same_key(opened, run):
    async def story():
        async with opened() as server:
            begun = (
                await server.http.post("/files/upload/multipart", headers=server.authorization)
            ).json()
            other = {"authorization": f"Key {(await server.keys.create()).key}"}
            url = f"{begun['access_url']}/multipart/{begun['uploadId']}"
            assert (await server.http.put(f"{url}/1", content=b"x")).status_code == 401
            assert (
                await server.http.put(f"{url}/1", content=b"x", headers=other)
            ).status_code == 403
            wrong = await server.http.put(f"{url}x/1", content=b"x", headers=server.authorization)
            assert wrong.status_code == 403

    run(story())


# ---------------------------------------------------------------- lifecycle


@pytest.mark.parametrize("header", ["X-Fal-Object-Lifecycle", "x-fal-object-lifecycle-preference"])
def test_a_file_is_gone_after_the_time_it_was_given(opened, run, clock, header):
    async def story():
        async with opened() as server:
            lifecycle = {header: json.dumps({"expiration_duration_seconds": 3600})}
            upload_url, first = await initiate(server, **lifecycle)
            await server.http.put(upload_url, content=b"x")
            second = await uploaded(server, b"x", **lifecycle)
            clock.now += 3599
            for url in (first, second):
                assert (await server.http.get(url)).status_code == 200
            clock.now += 1
            for url in (first, second):
                assert (await server.http.get(url)).status_code == 404
                assert (await server.http.head(url)).status_code == 404

    run(story())


def test_a_lifecycle_that_cannot_be_honoured_is_refused_before_the_bytes_are_read(opened, run):
    async def story():
        async with opened() as server:
            lifecycle = {"x-fal-object-lifecycle": '{"initial_acl": {"default": "private"}}'}
            for path in (INITIATE, "/files/upload", "/files/upload/multipart"):
                answer = await server.http.post(
                    path, json=CLIP, headers={**server.authorization, **lifecycle}
                )
                assert answer.status_code == 400
                assert "initial_acl" in answer.json()["detail"]

    run(story())


# ---------------------------------------------------------------- caps and broken uploads


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_cap_is_413_and_leaves_nothing(opened, run, declared):
    async def body():
        for _ in range(6):
            yield bytes(1_000_000)

    async def story():
        async with opened() as server:
            headers = {
                **server.authorization,
                **({"content-length": "6000000"} if declared else {}),
            }
            answer = await server.http.post("/files/upload", content=body(), headers=headers)
            assert answer.status_code == 413
            assert server.spool.used(server.key.partition(":")[0]) == 0
            assert await stored(server) == []

    run(story())


async def exchange(app, scope, messages):
    """One raw exchange: the app is given `messages` and then a disconnect; returns what it sent."""
    incoming, sent = iter(messages), []

    async def receive():
        return next(incoming, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


def put_scope(url, **headers):
    url = httpx.URL(url)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "headers": [
            (b"host", b"telecine.test"),
            *((k.encode(), v.encode()) for k, v in headers.items()),
        ],
    }


def test_an_upload_whose_caller_hangs_up_leaves_nothing(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server)
            half = {"type": "http.request", "body": b"half", "more_body": True}
            scope = put_scope(upload_url, **{"content-length": "8"})
            assert await exchange(server.app, scope, [half]) == []
            assert (await server.http.get(file_url)).status_code == 404
            assert server.spool.used(server.key.partition(":")[0]) == 0
            assert await stored(server) == []

    run(story())


def test_a_body_shorter_than_it_says_is_refused(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server)
            half = {"type": "http.request", "body": b"half", "more_body": False}
            scope = put_scope(upload_url, **{"content-length": "8"})
            sent = await exchange(server.app, scope, [half])
            assert sent[0]["status"] == 400
            assert (await server.http.get(file_url)).status_code == 404

    run(story())


# ---------------------------------------------------------------- reading


def test_ranges_of_a_file(opened, run):
    content = os.urandom(700_000)

    async def story():
        async with opened() as server:
            url = await uploaded(server, content)
            for asked, start, end in (
                ("bytes=0-0", 0, 1),
                ("bytes=699999-", 699_999, 700_000),
                ("bytes=-10", 699_990, 700_000),
                ("bytes=100000-599999", 100_000, 600_000),
            ):
                got = await server.http.get(url, headers={"range": asked})
                assert got.status_code == 206
                assert got.content == content[start:end]
                assert got.headers["content-range"] == f"bytes {start}-{end - 1}/700000"
            got = await server.http.get(url, headers={"range": "bytes=700000-"})
            assert (got.status_code, got.headers["content-range"]) == (416, "bytes */700000")
            got = await server.http.get(url, headers={"range": "bytes=0-1,5-6"})
            assert (got.status_code, got.content) == (200, content)
            got = await server.http.get(url, headers={"range": "bytes=0-1", "if-range": '"x"'})
            assert (got.status_code, got.content) == (200, content)

    run(story())


def test_head_tells_everything_but_the_bytes(opened, run):
    async def story():
        async with opened() as server:
            url = await uploaded(server, b"hello")
            got = await server.http.head(url, headers={"range": "bytes=0-1"})
            assert (got.status_code, got.content) == (200, b"")
            assert got.headers["content-length"] == "5"
            assert got.headers["accept-ranges"] == "bytes"

    run(story())


def test_a_caller_who_has_the_file_gets_304(opened, run):
    async def story():
        async with opened() as server:
            url = await uploaded(server, b"hello")
            first = await server.http.get(url)
            for condition in (
                {"if-none-match": first.headers["etag"]},
                {"if-modified-since": first.headers["last-modified"]},
            ):
                again = await server.http.get(url, headers=condition)
                assert (again.status_code, again.content) == (304, b"")

    run(story())


@pytest.mark.parametrize(
    ("content_type", "disposition"),
    [
        ("video/mp4", "inline"),
        ("audio/mpeg", "inline"),
        ("image/png", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html; charset=utf-8", "attachment"),
        ("application/pdf", "attachment"),
        ("text/javascript", "attachment"),
        ("", "attachment"),
    ],
)
def test_a_strangers_page_does_not_run_as_ours(opened, run, content_type, disposition):
    async def story():
        async with opened() as server:
            url = await uploaded(server, b"<script>", content_type)
            headers = (await server.http.get(url)).headers
            assert headers["content-disposition"] == f'{disposition}; filename="c.mp4"'
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == "sandbox"
            is_inert = disposition == "inline" or content_type == "application/pdf"
            assert headers["content-type"] == (
                content_type if is_inert else "application/octet-stream"
            )

    run(story())


def test_any_page_may_read_files_and_upload(opened, run):
    async def story():
        async with opened() as server:
            upload_url, file_url = await initiate(server)
            preflight = await server.http.options(
                upload_url,
                headers={
                    "origin": "https://page.example",
                    "access-control-request-method": "PUT",
                    "access-control-request-headers": "content-type",
                },
            )
            assert preflight.status_code == 204
            assert "PUT" in preflight.headers["access-control-allow-methods"]
            await server.http.put(upload_url, content=b"x")
            got = await server.http.get(file_url, headers={"origin": "https://page.example"})
            assert got.headers.get_list("access-control-allow-origin") == ["*"]
            assert "content-range" in got.headers["access-control-expose-headers"]

    run(story())


def test_files_are_read_under_fals_older_form_too(opened, run):
    async def story():
        async with opened() as server:
            url = await uploaded(server, b"hello")
            for form in ("/files/b/", "/cdn/files/"):
                assert (await server.http.get(url.replace("/files/", form))).content == b"hello"

    run(story())


@pytest.mark.parametrize(
    "path",
    ["/files/x/y", "/files/../../etc/passwd", "/files/" + "0" * 32 + "/a.mp4", "/files/a/b/c/d"],
)
def test_a_file_that_is_not_there_is_404(opened, run, path):
    async def story():
        async with opened() as server:
            assert (await server.http.get(path)).status_code == 404

    run(story())


# ---------------------------------------------------------------- temporary tokens


def test_a_token_is_answered_as_a_json_string(opened, run):
    async def story():
        async with opened() as server:
            for path in ("/rest/tokens/", "/rest/tokens"):
                answer = await server.http.post(
                    path,
                    json={"allowed_apps": ["router"], "token_expiration": 120},
                    headers=server.authorization,
                )
                caller = await server.keys.check(None, query_token=answer.json())
                assert caller.apps == {"router"}
            answer = await server.http.post(
                "/rest/tokens/realtime",
                json={"allowed_apps": ["openrouter/router/video"], "duration": 60},
                headers=server.authorization,
            )
            caller = await server.keys.check(
                f"Bearer {answer.json()['token']}", app="openrouter/router"
            )
            assert caller.apps == {"router"}

    run(story())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"allowed_apps": []},
        {"allowed_apps": "router"},
        {"allowed_apps": [1]},
        {"allowed_apps": ["router"], "token_expiration": 0},
        {"allowed_apps": ["router"], "token_expiration": 1e9},
        {"allowed_apps": ["router"], "token_expiration": "1h"},
        {"allowed_apps": ["router"], "token_expiration": True},
        {"allowed_apps": ["router"], "token_expiration": None},
    ],
)
def test_a_token_that_makes_no_sense_is_422(opened, run, body):
    async def story():
        async with opened() as server:
            answer = await server.http.post(
                "/rest/tokens/", json=body, headers=server.authorization
            )
            assert answer.status_code == 422

    run(story())


# ---------------------------------------------------------------- without keys


def test_a_server_without_keys_takes_uploads_from_its_own_machine(opened, run):
    async def story():
        async with opened(is_open=True) as server:
            host = {"host": "localhost:8484"}
            answer = await server.http.post(INITIATE, json=CLIP, headers=host)
            assert answer.json()["file_url"].startswith("http://localhost:8484/files/")
            assert (
                await server.http.post("/files/upload", content=b"x", headers=host)
            ).status_code == 200
            assert (await server.http.post(INITIATE, json=CLIP)).status_code == 403

    run(story())
