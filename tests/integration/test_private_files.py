"""Who may read a file: access rules, signed URLs, defaults of a key, and files in requests."""

import json
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import pytest
from tests.fakes.api import Worker
from tests.fakes.asgi import Browser
from tests.fakes.jobs import House, request

from telecine.api.parts import Parts
from telecine.api.routes import application
from telecine.errors import Forbidden
from telecine.files import Files
from telecine.jobs.bells import Bells
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.signing import SigningKeys
from telecine.keys import Keys
from telecine.media.spool import Spool
from telecine.models import Caller
from telecine.providers.registry import Registry

AT = 1_800_000_000.0
HOST = "http://localhost:8484"
VIDEO = b"not really a video"
ACL, SIGN, SETTINGS = "/v1/storage/files/acl", "/v1/storage/files/sign", "/v1/storage/settings"
MISSING = {"detail": "There is no such file, or it has expired."}


@pytest.fixture
def serve(run, tmp_path, database_url):
    @asynccontextmanager
    async def opened(**options):
        clock = SimpleNamespace(now=AT)
        async with (
            House(tmp_path, url=database_url, clock=lambda: clock.now, slots=0) as house,
            Spool(tmp_path / "spool", max_bytes_per_key=10**7, max_file_bytes=10**7) as spool,
        ):
            files = Files(
                db=house.db,
                storage=house.storage,
                clock=lambda: clock.now,
                secret=bytes(32),
                **options,
            )
            house.queue._files = files
            keys = Keys(db=house.db, clock=lambda: clock.now, secret=bytes(32))
            parts = Parts(
                db=house.db,
                deliveries=Deliveries(db=house.db, bells=Bells(), clock=time.time),
                signing_keys=SigningKeys(tmp_path / "webhook-keys.json", clock=time.time),
                storage=house.storage,
                files=files,
                keys=keys,
                spool=spool,
                registry=Registry({}, {}),
                inference=None,
                queue=house.queue,
                worker=Worker(),
                clock=lambda: clock.now,
            )
            app = application(parts)
            owner, friend = await keys.create("owner"), await keys.create("friend")
            admin = await keys.create("boss", ["API", "ADMIN"])
            yield SimpleNamespace(
                house=house,
                files=files,
                clock=clock,
                keys=keys,
                owner_id=owner.key_id,
                friend_id=friend.key_id,
                owner=Browser(app, key=owner.key),
                friend=Browser(app, key=friend.key),
                boss=Browser(app, key=admin.key),
                stranger=Browser(app, key=None),
            )

    def serve(test, **options):
        async def main():
            async with opened(**options) as server:
                return await test(server)

        return run(main())

    return serve


async def upload(server, acl=None, by=None, body=VIDEO):
    """The path of a new file."""
    headers = {"content-type": "video/mp4", "x-fal-file-name": "a.mp4"}
    if acl is not None:
        headers["x-fal-object-lifecycle"] = json.dumps({"initial_acl": acl})
    answer = await (by or server.owner)("POST", "/files/upload", body=body, headers=headers)
    assert answer.status == 200, answer.body
    return answer.json["access_url"].removeprefix(HOST)


def about(call, path):
    """The target of a call about the file at `path`."""
    return f"{call}?url={quote(HOST + path, safe='')}"


async def statuses(server, path):
    """What owner, administrator, another key and nobody get."""
    callers = (server.owner, server.boss, server.friend, server.stranger)
    return [(await caller("GET", path)).status for caller in callers]


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("acl", "expected"),
    [
        (None, [200, 200, 200, 200]),
        ({"default": "allow"}, [200, 200, 200, 200]),
        ({"default": "forbid"}, [200, 200, 403, 403]),
        ({"default": "hide"}, [200, 200, 404, 404]),
        (
            {"default": "hide", "rules": [{"user": "friend", "decision": "allow"}]},
            [200, 200, 200, 404],
        ),
        ({"rules": [{"user": "friend", "decision": "forbid"}]}, [200, 200, 403, 200]),
        ({"rules": [{"user": "owner", "decision": "hide"}]}, [200, 200, 200, 200]),
        (
            {"default": "forbid", "rules": [{"user": "ghost", "decision": "allow"}]},
            [200, 200, 403, 403],
        ),
    ],
)
def test_a_file_is_read_by_whom_its_rules_let(serve, acl, expected):
    async def test(server):
        path = await upload(server, acl)
        return await statuses(server, path)

    assert serve(test) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"range": "bytes=0-0"}, {"if-none-match": "*"}, {"authorization": "Key no:body"}],
)
def test_no_way_of_asking_gets_around_the_rules(serve, method, headers):
    async def test(server):
        for decision, status in (("forbid", 403), ("hide", 404)):
            path = await upload(server, {"default": decision})
            answer = await server.stranger(method, path, headers=headers)
            assert answer.status == status
            assert "etag" not in answer.headers
            assert VIDEO not in answer.body

    serve(test)


def test_a_hidden_file_looks_like_none_at_all(serve):
    async def test(server):
        path = await upload(server, {"default": "hide"})
        hidden = await server.stranger("GET", path)
        none = await server.stranger("GET", f"/files/{'0' * 32}/a.mp4")
        assert hidden.json == none.json == MISSING
        assert {*hidden.headers} == {*none.headers}

    serve(test)


def test_a_private_file_is_kept_by_no_shared_cache(serve):
    async def test(server):
        private, public = await upload(server, {"default": "forbid"}), await upload(server)
        assert (await server.owner("GET", private)).headers["cache-control"] == "private, no-cache"
        assert (await server.owner("GET", public)).headers["cache-control"] == "no-cache"

    serve(test)


def test_a_file_is_private_from_the_start_whichever_way_it_is_uploaded(serve):
    async def test(server):
        headers = {"x-fal-object-lifecycle": '{"initial_acl": {"default": "forbid"}}'}
        body = {"file_name": "a.mp4", "content_type": "video/mp4"}
        started = await server.owner("POST", "/rest/storage/upload/initiate", body, headers=headers)
        put = started.json["upload_url"].removeprefix(HOST)
        assert (await server.stranger("PUT", put, body=VIDEO)).status == 200
        one = started.json["file_url"].removeprefix(HOST)

        started = await server.owner("POST", "/files/upload/multipart", headers=headers)
        two = started.json["access_url"].removeprefix(HOST)
        parts = f"{two}/multipart/{started.json['uploadId']}"
        etag = (await server.owner("PUT", f"{parts}/1", body=VIDEO)).json["etag"]
        done = {"parts": [{"partNumber": 1, "etag": etag}]}
        assert (await server.owner("POST", f"{parts}/complete", done)).status == 200
        for path in (one, two):
            assert await statuses(server, path) == [200, 200, 403, 403]

    serve(test)


def test_a_cdn_token_reads_what_its_key_may(serve):
    async def test(server):
        path = await upload(server, {"default": "forbid"})
        token = (await server.owner("POST", "/rest/storage/auth/token", {})).json["token"]
        headers = {"authorization": f"Bearer {token}"}
        assert (await server.stranger("GET", path, headers=headers)).status == 200

    serve(test)


def test_a_temporary_token_of_the_owners_is_not_the_owner(serve):
    async def test(server):
        path = await upload(server, {"default": "forbid"})
        token = (await server.owner("POST", "/rest/tokens/", {"allowed_apps": ["router"]})).json
        headers = {"authorization": f"Bearer {token}"}
        assert (await server.stranger("GET", path, headers=headers)).status == 403

    serve(test)


def test_a_revoked_key_reads_nothing_private_any_more(serve):
    async def test(server):
        rules = [{"user": "friend", "decision": "allow"}]
        path = await upload(server, {"default": "forbid", "rules": rules})
        await server.keys.revoke(server.friend_id)
        assert (await server.friend("GET", path)).status == 403

    serve(test)


# ---------------------------------------------------------------- the ACL calls


def test_the_acl_is_changed_and_holds_at_once(serve):
    async def test(server):
        path = await upload(server)
        assert (await server.owner("GET", about(ACL, path))).json == {
            "default": "allow",
            "rules": [],
        }
        wanted = {
            "default": "hide",
            "rules": [
                {"user": "friend", "decision": "forbid"},
                {"user": server.owner_id, "decision": "allow"},
                {"user": "ghost", "decision": "allow"},
            ],
        }
        held = {"default": "hide", "rules": wanted["rules"][:2]}
        assert (await server.owner("PUT", about(ACL, path), wanted)).json == held
        assert (await server.owner("GET", about(ACL, path))).json == held
        assert await statuses(server, path) == [200, 200, 403, 404]
        assert (await server.boss("PUT", about(ACL, path), {"default": "allow"})).status == 200
        assert await statuses(server, path) == [200, 200, 200, 200]

    serve(test)


@pytest.mark.parametrize("call", [("GET", ACL), ("PUT", ACL), ("POST", SIGN)])
def test_only_the_owner_may_say_who_reads(serve, call):
    async def test(server):
        method, path = call
        body = {"default": "allow", "expiration_seconds": 60}
        for decision, status in (("allow", 403), ("forbid", 403), ("hide", 404)):
            file = await upload(server, {"default": decision})
            answer = await server.friend(method, about(path, file), body)
            assert (answer.status, "error" in answer.json) == (status, True)

    serve(test)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (None, 400),
        ("", 400),
        ("https://example.com/a.mp4", 400),
        ("http://[", 400),
        (f"{HOST}/files/{'0' * 32}/a.mp4?x=1", 400),
        (f"{HOST}/files/{'0' * 32}/a.mp4", 404),
    ],
)
def test_other_urls_have_no_rules(serve, url, status):
    target = ACL if url is None else f"{ACL}?url={quote(url, safe='')}"
    assert serve(lambda server: server.owner("GET", target)).status == status


@pytest.mark.parametrize(
    "body", [[], {}, {"default": "private"}, {"default": "hide", "rules": [{"user": "x"}]}]
)
def test_rules_that_make_no_sense_change_nothing(serve, body):
    async def test(server):
        path = await upload(server, {"default": "forbid"})
        answer = await server.owner("PUT", about(ACL, path), body)
        assert (answer.status, answer.json["error"]["type"]) == (400, "validation_error")
        assert await statuses(server, path) == [200, 200, 403, 403]

    serve(test)


# ---------------------------------------------------------------- signed URLs


async def signed(server, path, seconds=60):
    answer = await server.owner("POST", about(SIGN, path), {"expiration_seconds": seconds})
    assert answer.status == 200, answer.body
    return answer.json["signed_url"].removeprefix(HOST)


@pytest.mark.parametrize("decision", ["forbid", "hide"])
def test_a_signed_url_opens_the_file_until_it_expires(serve, decision):
    async def test(server):
        path = await upload(server, {"default": decision})
        url = await signed(server, path)
        assert (await server.stranger("GET", url)).body == VIDEO
        assert (await server.stranger("HEAD", url)).status == 200
        server.clock.now += 59
        assert (await server.stranger("GET", url)).status == 200
        server.clock.now += 1
        assert (await server.stranger("GET", url)).status in (403, 404)

    serve(test)


def test_a_signature_is_for_one_file_and_one_time(serve):
    async def test(server):
        path, other = [await upload(server, {"default": "forbid"}) for _ in range(2)]
        identity = urlsplit(await signed(server, path)).query.removeprefix("identity=")
        until, _, signature = identity.partition(".")
        for forged in (
            f"{other}?identity={identity}",
            f"{path}?identity={int(until, 16) + 1:x}.{signature}",
            f"{path}?identity={until}.{signature[:-2]}AA",
            f"{path}?identity={until}.",
            f"{path}?identity={until}",
            f"{path}?identity=.",
            f"{path}?identity=zz.{signature}",
            f"{path}?identity=%F0%9F%8E%AC",
        ):
            assert (await server.stranger("GET", forged)).status == 403, forged

    serve(test)


def test_signatures_of_another_installation_are_worth_nothing(serve):
    async def test(server):
        path = await upload(server, {"default": "forbid"})
        file = await server.files.find(path.split("/")[2])
        other = Files(db=server.house.db, storage=None, clock=lambda: AT, secret=b"x" * 32)
        return (await server.stranger("GET", f"{path}?identity={other.sign(file, 60)}")).status

    assert serve(test) == 403


@pytest.mark.parametrize("seconds", [0, -1, 604_801, 1.5, "60", None, True])
def test_signatures_last_a_second_to_a_week(serve, seconds):
    async def test(server):
        path = await upload(server)
        return await server.owner("POST", about(SIGN, path), {"expiration_seconds": seconds})

    assert serve(test).status == 400


# ---------------------------------------------------------------- defaults of a key


def test_a_key_says_what_its_uploads_are_like_from_now_on(serve):
    async def test(server):
        empty = {"expiration_duration_seconds": None, "initial_acl": None}
        assert (await server.owner("GET", SETTINGS)).json == empty
        wanted = {
            "expiration_duration_seconds": 3600,
            "initial_acl": {
                "default": "hide",
                "rules": [{"user": "friend", "decision": "allow"}],
            },
        }
        assert (await server.owner("PUT", SETTINGS, wanted)).json == wanted
        assert (await server.owner("GET", SETTINGS)).json == wanted
        path = await upload(server)
        assert await statuses(server, path) == [200, 200, 200, 404]
        server.clock.now += 3600
        assert await statuses(server, path) == [404, 404, 404, 404]
        theirs = await upload(server, by=server.friend)
        assert await statuses(server, theirs) == [200, 200, 200, 200]
        assert (await server.owner("PUT", SETTINGS, {})).json == empty
        assert await statuses(server, await upload(server)) == [200, 200, 200, 200]

    serve(test)


def test_a_header_says_otherwise_field_by_field(serve):
    async def test(server):
        await server.owner(
            "PUT",
            SETTINGS,
            {"expiration_duration_seconds": 60, "initial_acl": {"default": "forbid"}},
        )
        headers = {"x-fal-object-lifecycle": '{"expiration_duration_seconds": 600}'}
        answer = await server.owner("POST", "/files/upload", body=VIDEO, headers=headers)
        long = answer.json["access_url"].removeprefix(HOST)
        public = await upload(server, {"default": "allow"})
        assert (await server.stranger("GET", long)).status == 403
        assert (await server.stranger("GET", public)).status == 200
        server.clock.now += 60
        assert (await server.owner("GET", long)).status == 200
        assert (await server.owner("GET", public)).status == 404

    serve(test)


@pytest.mark.parametrize(
    "body",
    [
        {"expiration_duration_seconds": 0},
        {"expiration_duration_seconds": "1h"},
        {"expiration_duration_seconds": 10**11},
        {"initial_acl": "forbid"},
        {"initial_acl": {}},
    ],
)
def test_settings_that_make_no_sense_are_refused(serve, body):
    assert serve(lambda server: server.owner("PUT", SETTINGS, body)).status == 400


# ---------------------------------------------------------------- files in requests


async def own(server, path, *, key=None, mode="run", **more):
    return await server.files.own(
        f"{HOST}{path}", request(key=key or server.owner_id, mode=mode), **more
    )


@pytest.mark.parametrize("mode", ["run", "stream"])
def test_a_live_request_may_use_what_its_caller_may_read(serve, mode):
    async def test(server):
        path = await upload(server, {"default": "forbid"})
        assert await own(server, path, mode=mode)
        with pytest.raises(Forbidden):
            await own(server, path, mode=mode, key=server.friend_id)
        assert await own(server, await signed(server, path), mode=mode, key=server.friend_id)
        hidden = await upload(server, {"default": "hide"})
        assert await own(server, hidden, mode=mode, key=server.friend_id) is None

    serve(test)


def test_a_page_with_a_token_cannot_have_the_owners_private_files_read_to_it(serve):
    async def test(server):
        path = await upload(server, {"default": "forbid"})
        token = Caller(server.owner_id, apps=frozenset({"router"}))
        asked = request(mode="run")
        with pytest.raises(Forbidden):
            await server.files.own(
                f"{HOST}{path}", SimpleNamespace(id=asked.id, mode="run", caller=token)
            )

    serve(test)


def test_a_queued_request_may_later_use_what_it_might_use_when_it_came_in(serve):
    async def test(server):
        private = await upload(server, {"default": "forbid"})
        link = await signed(server, private)
        cases = (
            (server.owner_id, private, True),
            (server.friend_id, private, False),
            (server.friend_id, link, True),
        )
        for key, path, is_allowed in cases:
            asked = request(key=key, video_urls=[f"{HOST}{path}"])
            await server.house.queue.submit(asked)
            server.clock.now += 3600  # the signature expires meanwhile
            later = request(key=key, id=asked.id)
            if is_allowed:
                assert await server.files.own(f"{HOST}{path}", later)
            else:
                with pytest.raises(Forbidden):
                    await server.files.own(f"{HOST}{path}", later)
            server.clock.now -= 3600

    serve(test, expires_seconds=86400.0)


@pytest.mark.parametrize(
    "named",
    [
        {"video_url": "{url}"},
        {"image_urls": ["x", "{url}"]},
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "{url}"}}]}]},
    ],
)
def test_a_queued_request_keeps_the_files_it_names_wherever_it_names_them(serve, named):
    async def test(server):
        url = f"{HOST}{await upload(server, {'default': 'forbid'})}"
        document = json.loads(json.dumps(named).replace("{url}", url))
        asked = request(key=server.owner_id, **document)
        await server.house.queue.submit(asked)
        server.clock.now += 30 * 86400
        await server.files.collect(server.clock.now)
        assert await server.files.own(url, asked)

    serve(test)


# ---------------------------------------------------------------- room


def test_a_key_has_room_for_so_many_bytes_and_no_more(serve):
    async def test(server):
        await upload(server, body=b"x" * 600)
        answer = await server.owner("POST", "/files/upload", body=b"y" * 401)
        assert answer.status == 403
        assert "TELECINE_STORAGE_BYTES_PER_KEY" in answer.json["detail"]
        await upload(server, body=b"z" * 400)
        full = await server.owner("POST", "/files/upload", body=b"!" * 3_000_000)
        assert full.status == 403
        assert server.owner.read_bytes < 2_000_000
        body = {"file_name": "a", "content_type": "video/mp4"}
        assert (await server.owner("POST", "/rest/storage/upload/initiate", body)).status == 403
        await upload(server, by=server.friend, body=b"x" * 1_000)

    serve(test, max_key_bytes=1_000)


def test_parts_of_an_upload_take_room_once(serve):
    async def test(server):
        started = await server.owner("POST", "/files/upload/multipart")
        parts = (
            f"{started.json['access_url'].removeprefix(HOST)}/multipart/{started.json['uploadId']}"
        )
        etags = []
        for number in (1, 2):
            for _ in range(2):
                answer = await server.owner("PUT", f"{parts}/{number}", body=bytes([number]) * 500)
                assert answer.status == 200
            etags.append({"partNumber": number, "etag": answer.json["etag"]})
        refused = await server.owner("PUT", f"{parts}/3", body=b"x")
        assert refused.status == 403
        done = await server.owner("POST", f"{parts}/complete", {"parts": etags})
        assert done.status == 200
        assert (await server.owner("PUT", f"{parts}/3", body=b"x")).status == 400

    serve(test, max_key_bytes=1_000)


def test_room_comes_back_when_files_expire(serve):
    async def test(server):
        path = await upload(server, body=b"x" * 1_000)
        server.clock.now += 61
        await server.files.collect(server.clock.now)
        assert (await server.owner("GET", path)).status == 404
        await upload(server, body=b"x" * 1_000)

    serve(test, max_key_bytes=1_000, expires_seconds=60.0)
