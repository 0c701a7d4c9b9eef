"""C088-C101: keys, tokens, uploads, data URIs (spec 8-10)."""

import hashlib
import re
from datetime import UTC, datetime

import fal_client
import httpx
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.server import KEY
from tests.acceptance.support.waiting import eventually
from tests.fakes.clips import box

MIB = 1024 * 1024
CLIP = DATA / "jfk_slides.mp4"
CLIP_SHA256 = hashlib.sha256(CLIP.read_bytes()).hexdigest()


def kept(url, server):
    """What a file URL gives: its SHA-256, its length, its type. Asked without a key."""
    digest, size = hashlib.sha256(), 0
    with httpx.stream("GET", server.origin + httpx.URL(url).path, trust_env=False) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_bytes():
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size, answer.headers["content-type"]


# ---------------------------------------------------------------- keys and tokens


@pytest.mark.parametrize("word", ["Key", "key"])
def test_c088_a_key_after_either_word(server, word):
    with calling(server.origin, key=None) as client:
        answer = client.post(
            f"/{ENDPOINT}",
            json={"prompt": "x", "model": "echo/echo"},
            headers={"Authorization": f"{word} {KEY}"},
        )
    assert answer.status_code == 200


def test_c089_js_gets_a_token_through_the_proxy_route(node, wire, asked):
    answer = node("storage.c089", input=asked())
    assert f"sha256={CLIP_SHA256}" in answer["last"]["output"]
    token, stream = wire.calls
    assert token.line == "POST /api/fal/proxy"
    assert token.target == "https://rest.fal.ai/tokens/"
    assert token.document["allowed_apps"] == ["router"]
    assert httpx.Response(token.status, content=token.answer).json().count(".") == 2
    assert "fal_jwt_token=" in stream.path
    assert "authorization" not in stream.headers


def test_c090_preflights(raw):
    upload_url = raw.post(
        "/rest/storage/upload/initiate", json={"content_type": "video/mp4", "file_name": "a.mp4"}
    ).json()["upload_url"]
    headers = ["authorization", "content-type", "x-fal-queue-priority", "x-fal-target-url"]
    exposed = {
        *("x-fal-request-id", "x-fal-request-timeout-type"),
        *("x-fal-error-type", "x-fal-billable-units"),
    }
    for url, method in [
        (f"/{ENDPOINT}", "POST"),
        (f"/{ENDPOINT}/stream", "POST"),
        (f"/queue/{ENDPOINT}", "POST"),
        ("/queue/openrouter/router/requests/1/cancel", "PUT"),
        ("/api/fal/proxy", "PUT"),
        ("/rest/tokens/", "POST"),
        (upload_url, "PUT"),
    ]:
        answer = httpx.options(  # as a browser does: without the key
            httpx.URL(raw.base_url).join(url),
            headers={
                "Origin": "https://page.example",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": ", ".join(headers),
            },
        )
        assert answer.status_code in (200, 204), url
        assert answer.headers["access-control-allow-origin"] in ("*", "https://page.example")
        assert method in answer.headers["access-control-allow-methods"], url
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert set(headers) <= set(allowed), url
        assert exposed <= set(answer.headers["access-control-expose-headers"].lower().split(", "))


# ---------------------------------------------------------------- JavaScript uploads


def test_c091_js_uploads(node, wire, server):
    answer = node("storage.upload", path=str(CLIP))
    assert kept(answer["url"], server) == (CLIP_SHA256, CLIP.stat().st_size, "video/mp4")
    initiate, put = wire.calls
    assert initiate.line == "POST /rest/storage/upload/initiate?storage_type=fal-cdn-v3"
    assert put.method == "PUT"
    assert "authorization" not in put.headers


def test_c092_js_uploads_90_mib_in_one_piece_and_more_in_parts(node, wire, server):
    answer = node("storage.upload", size=90 * MIB)
    assert kept(answer["url"], server) == (answer["sha256"], 90 * MIB, "video/mp4")
    assert [call.method for call in wire.calls] == ["POST", "PUT"]
    wire.calls.clear()
    answer = node("storage.upload", size=90 * MIB + 1)
    assert kept(answer["url"], server) == (answer["sha256"], 90 * MIB + 1, "video/mp4")
    initiate, *parts, complete = wire.calls
    assert initiate.path == "/rest/storage/upload/initiate-multipart?storage_type=fal-cdn-v3"
    assert [number(call) for call in parts] == list(range(1, 11))
    assert complete.document["parts"][0].keys() == {"partNumber", "etag"}


def number(part):
    """Which part it is."""
    return int(httpx.URL(part.path).path.rpartition("/")[2])


def test_c093_js_sends_a_part_again_that_failed_twice(node, wire, server):
    wire.fault(r"PUT .*/10\?", times=1, status=500)
    wire.fault(r"PUT .*/10\?", times=1, drops=True)
    answer = node("storage.upload", size=90 * MIB + 1)
    assert kept(answer["url"], server) == (answer["sha256"], 90 * MIB + 1, "video/mp4")
    numbers = [number(call) for call in wire.calls if call.method == "PUT"]
    assert numbers == [*range(1, 11), 10, 10]


def test_c094_js_uploads_blobs_in_the_input(node, wire, asked):
    answer = node("storage.c094", input=asked(videos=()), path=str(CLIP))
    assert f"sha256={CLIP_SHA256}" in answer["data"]["output"]
    (run,) = [call for call in wire.calls if call.path == f"/{ENDPOINT}"]
    (url,) = run.document["video_urls"]
    assert url.startswith(wire.url)


def test_c095_js_says_how_long_a_file_lives(node, wire, server):
    an_hour = {"lifecycle": {"expiresIn": "1h"}}
    url = node("storage.upload", path=str(CLIP), options=an_hour)["url"]
    header = '{"expiration_duration_seconds":3600}'
    assert wire.calls[0].headers["x-fal-object-lifecycle"] == header
    assert kept(url, server)[0] == CLIP_SHA256
    a_second = {"lifecycle": {"expiresIn": 1}}
    url = node("storage.upload", path=str(CLIP), options=a_second)["url"]
    with calling(server.origin, key=None) as client:
        assert eventually(lambda: client.get(httpx.URL(url).path).status_code == 404)


# ---------------------------------------------------------------- Python uploads


def test_c096_python_uploads(fal, wire, server):
    url = fal.upload(CLIP.read_bytes(), "video/mp4", "a.mp4")
    assert wire.lines() == [
        "POST /rest/storage/auth/token?storage_type=fal-cdn-v3",
        "POST /cdn/files/upload",
    ]
    assert wire.calls[1].headers["authorization"].startswith("Bearer ")
    assert url in wire.calls[1].answer.decode()
    assert kept(url, server) == (CLIP_SHA256, CLIP.stat().st_size, "video/mp4")


def test_c097_python_uploads_over_100_mib_in_parallel_parts(fal, wire, server, tmp_path):
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        for index in range(101):
            file.write(index.to_bytes(8) * (MIB // 8))
    # The first part is the last to arrive, so the list of parts that the client sends is unsorted.
    wire.fault("PUT .*/1$", times=1, seconds=1)
    url = fal.upload_file(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert kept(url, server)[:2] == (digest, 101 * MIB)
    parts = [call for call in wire.calls if call.method == "PUT"]
    assert sorted(number(call) for call in parts) == list(range(1, 12))
    listed = [part["partNumber"] for part in wire.calls[-1].document["parts"]]
    assert sorted(listed) == list(range(1, 12))
    assert listed != sorted(listed)


def test_c098_python_falls_back_when_the_cdn_fails(fal, wire, server):
    wire.fault("POST /cdn/files/upload", status=500)
    url = fal.upload(CLIP.read_bytes(), "video/mp4", "a.mp4")
    assert "POST /rest/storage/upload/initiate?storage_type=gcs" in wire.lines()
    # This client sends its key along with the bytes.
    assert wire.calls[-1].headers["authorization"] == f"Key {KEY}"
    assert kept(url, server) == (CLIP_SHA256, CLIP.stat().st_size, "video/mp4")


# What Python 3.8 reads: six digits of a second or three or none, and no Z.
_PYTHON_38 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{3}(?:\d{3})?)?)?[+-]\d\d:\d\d(?::\d\d(?:\.\d{6})?)?"
)


def test_c099_old_pythons_read_when_a_cdn_token_expires(raw):
    token = raw.post("/rest/storage/auth/token?storage_type=fal-cdn-v3", json={}).json()
    assert {"token", "token_type", "base_url", "expires_at"} <= set(token)
    for name in ("created_at", "expires_at"):
        assert _PYTHON_38.fullmatch(token[name])
    expires_at = datetime.fromisoformat(token["expires_at"])
    assert expires_at > datetime.now(UTC)


# ---------------------------------------------------------------- data URIs


def test_c100_python_encodes_a_file(fal, asked):
    uri = fal_client.encode_file(CLIP)
    answer = fal.run(ENDPOINT, {**asked(videos=()), "video_urls": [uri]})
    assert f"sha256={CLIP_SHA256} bytes={CLIP.stat().st_size}" in answer["output"]


def test_c101_js_submits_a_data_uri_of_60_mib(node, asked, tmp_path):
    clip = CLIP.read_bytes()
    content = clip + box(b"free", bytes(60 * MIB - len(clip) - 8))
    path = tmp_path / "padded.mp4"
    path.write_bytes(content)
    answer = node("storage.c101", input=asked(videos=()), path=str(path))
    assert answer["length"] > 60 * MIB
    digest = hashlib.sha256(content).hexdigest()
    assert f"sha256={digest} bytes={60 * MIB}" in answer["output"]
