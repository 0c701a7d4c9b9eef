"""The pages' sign-in, in process: what a cookie is good for, and for whom."""

import pytest
from tests.fakes.asgi import Browser
from tests.fakes.gateway import opened

ASKED = {"prompt": "p", "model": "m"}
SAME = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def serve(run, tmp_path, database_url):
    def serve(test):
        async def main():
            async with opened(tmp_path, url=database_url) as server:
                return await test(server)

        return run(main())

    return serve


async def signed_in(server, key=None):
    """The cookie that a browser would send from now on."""
    answer = await server.stranger(
        "POST", "/telecine/v1/session", {"key": (key or server.plain).key}, headers=SAME
    )
    assert answer.status == 200, answer.body
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


def test_a_key_is_exchanged_for_a_cookie_that_no_script_and_no_other_site_gets(serve):
    async def test(server):
        answer = await server.stranger(
            "POST", "/telecine/v1/session", {"key": server.plain.key}, headers=SAME
        )
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert server.plain.key_secret not in cookie
        assert answer.json == {"key_id": server.plain.key_id, "scopes": ["API"]}

    serve(test)


def test_the_cookie_is_secure_behind_tls(serve):
    async def test(server):
        browser = Browser(server.app, key=None, scheme="https")
        answer = await browser(
            "POST", "/telecine/v1/session", {"key": server.plain.key}, headers=SAME
        )
        assert "; secure" in answer.headers["set-cookie"].lower()

    serve(test)


@pytest.mark.parametrize("key", ["", "nobody:nothing", "id", "ünïcode:x", None, 7])
def test_no_cookie_for_what_is_no_key(serve, key):
    async def test(server):
        answer = await server.stranger("POST", "/telecine/v1/session", {"key": key}, headers=SAME)
        assert answer.status in (401, 422)
        assert "set-cookie" not in answer.headers

    serve(test)


def test_who_is_signed_in_is_told_and_nobody_is_401(serve):
    async def test(server):
        assert (await server.stranger("GET", "/telecine/v1/session")).status == 401
        cookie = await signed_in(server, server.boss)
        answer = await server.stranger("GET", "/telecine/v1/session", headers=cookie | SAME)
        assert answer.json == {
            "key_id": server.boss.key_id,
            "scopes": ["ADMIN", "API"],
            "needs_key": True,
        }

    serve(test)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/telecine/v1/requests"),
        ("GET", "/telecine/v1/models"),
        ("POST", "/rest/storage/upload/initiate"),
        ("POST", "/rest/tokens"),
        ("POST", "/openrouter/router/video"),
    ],
)
def test_a_session_may_what_its_key_may(serve, method, path):
    async def test(server):
        cookie = await signed_in(server)
        document = {"file_name": "a.mp4", "content_type": "video/mp4"}
        options = {} if method == "GET" else {"document": document}
        with_key = await server.call(method, path, **options)
        answer = await server.stranger(method, path, headers=cookie | SAME, **options)
        assert answer.status == with_key.status != 401

    serve(test)


def test_a_session_goes_through_the_proxy_route(serve):
    async def test(server):
        cookie = await signed_in(server)
        target = {"x-fal-target-url": "https://fal.run/openrouter/router/video"}
        answer = await server.stranger(
            "POST", "/api/fal/proxy", ASKED, headers=cookie | SAME | target
        )
        assert answer.status == 200

    serve(test)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:9999"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {},  # a browser always names the origin of a call that changes something
    ],
)
def test_another_origin_can_change_nothing_with_the_cookie(serve, headers):
    async def test(server):
        cookie = await signed_in(server)
        answer = await server.stranger(
            "POST", "/openrouter/router/video", ASKED, headers=cookie | headers
        )
        assert answer.status == 401

    serve(test)


@pytest.mark.parametrize("headers", [SAME, {"origin": "http://localhost:8484"}])
def test_this_origin_can(serve, headers):
    async def test(server):
        cookie = await signed_in(server)
        answer = await server.stranger(
            "POST", "/openrouter/router/video", ASKED, headers=cookie | headers
        )
        assert answer.status == 200

    serve(test)


def test_only_the_pages_of_this_server_sign_in(serve):
    async def test(server):
        for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {}):
            answer = await server.stranger(
                "POST", "/telecine/v1/session", {"key": server.plain.key}, headers=headers
            )
            assert answer.status == 403

    serve(test)


def test_an_authorization_header_goes_before_the_cookie(serve):
    async def test(server):
        cookie = await signed_in(server)
        wrong = {"authorization": "Key nobody:nothing"}
        answer = await server.stranger(
            "GET", "/telecine/v1/requests", headers=cookie | SAME | wrong
        )
        assert answer.status == 401

    serve(test)


@pytest.mark.parametrize("scheme", ["Session", "session", "SESSION", "Bearer", "Key"])
def test_a_stolen_token_is_no_authorization(serve, scheme):
    async def test(server):
        token = (await signed_in(server))["cookie"].partition("=")[2]
        answer = await server.stranger(
            "GET", "/telecine/v1/requests", headers={"authorization": f"{scheme} {token}"}
        )
        assert answer.status == 401

    serve(test)


def test_a_session_ends_with_its_key(serve):
    async def test(server):
        cookie = await signed_in(server)
        await server.keys.revoke(server.plain.key_id)
        answer = await server.stranger("GET", "/telecine/v1/requests", headers=cookie | SAME)
        assert answer.status == 401

    serve(test)


def test_a_session_ends_after_a_week(serve):
    async def test(server):
        cookie = await signed_in(server)
        server.clock.now += 7 * 24 * 3600 + 1
        answer = await server.stranger("GET", "/telecine/v1/requests", headers=cookie | SAME)
        assert answer.status == 401

    serve(test)


def test_signing_out_takes_the_cookie_away(serve):
    async def test(server):
        answer = await server.stranger("DELETE", "/telecine/v1/session", headers=SAME)
        assert answer.status == 204
        assert "max-age=0" in answer.headers["set-cookie"].lower()

    serve(test)


@pytest.mark.parametrize(
    "cookie",
    [
        "telecine_session=",
        "telecine_session=x.y.z",
        "telecine_session=\x7f\xff",
        'telecine_session="a',
    ],
)
def test_a_cookie_that_is_none_of_ours_is_nobody(serve, cookie):
    async def test(server):
        answer = await server.stranger(
            "GET", "/telecine/v1/requests", headers={"cookie": cookie} | SAME
        )
        assert answer.status == 401

    serve(test)
