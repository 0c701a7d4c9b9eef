"""C001-C016: every way to point fal's clients at Telecine (spec 2)."""

import hashlib
import http.server
import threading

import httpx
import pytest
from tests.acceptance.conftest import ENDPOINT
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.python import run
from tests.acceptance.support.server import KEY, free_port
from tests.acceptance.support.tls import Authority, ConnectProxy, Front

JFK = hashlib.sha256((DATA / "jfk_slides.mp4").read_bytes()).hexdigest()


def saw_jfk(output):
    return f"sha256={JFK}" in output


def test_c001_js_through_the_proxy_route_runs(node, wire, asked):
    answer = node("redirect.c001", input=asked())
    assert saw_jfk(answer["data"]["output"])
    (call,) = wire.calls
    assert call.line == "POST /api/fal/proxy"
    assert call.target == f"https://fal.run/{ENDPOINT}"
    assert answer["requestId"] == call.answer_headers["x-fal-request-id"] != ""


def test_c002_js_through_the_proxy_route_subscribes_and_cancels(node, wire, asked):
    answer = node("redirect.c002", input=asked())
    assert saw_jfk(answer["data"]["output"])
    assert answer["requestId"]
    assert {call.path for call in wire.calls} == {"/api/fal/proxy"}
    assert {call.method for call in wire.calls} == {"POST", "GET", "PUT"}


def test_c003_js_with_a_middleware_on_plain_http_subscribes(node, wire, asked):
    answer = node("redirect.c003", input=asked())
    assert saw_jfk(answer["data"]["output"])
    assert wire.lines()[0] == f"POST /queue/{ENDPOINT}"


def test_c004_js_with_a_fetch_of_its_own_runs_streams_and_uploads(node, asked):
    answer = node("redirect.c004", input=asked())
    assert saw_jfk(answer["run"]["data"]["output"])
    assert saw_jfk(answer["stream"]["last"]["output"])
    assert httpx.get(answer["url"]).content == b"hello"


# No test for C005 (in Node a plain string as `proxyUrl` does nothing: the client goes straight to
# fal) and C022 (an id without a slash is an error inside the client): no server sees these calls.


@pytest.fixture
def trap():
    """A server that nothing may ask anything: its URL, and what was asked all the same."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()
    thread.join()


def proxied(raw, target):
    headers = {} if target is None else {"x-fal-target-url": target}
    return raw.post("/api/fal/proxy", headers=headers, json={"prompt": "x", "model": "echo/echo"})


def test_c007_the_proxy_route_asks_no_other_host(raw, trap):
    host, seen = trap
    for target in ("https://example.com/", f"http://{host}/", f"http://{host}/{ENDPOINT}"):
        answer = proxied(raw, target)
        assert answer.status_code == 400, target
        assert isinstance(answer.json()["detail"], str)
    assert seen == []


def test_c008_the_proxy_route_without_a_target_is_a_bad_request(raw):
    answer = proxied(raw, None)
    assert answer.status_code == 400
    assert "x-fal-target-url" in answer.json()["detail"]


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/",
        "http://169.254.169.254/latest/meta-data/",
        "https://fal.run@evil/",
        "https://fal.run.evil/",
        "https://evil-fal.run/",
        "https://fal.run:x@evil/openrouter/router/video",
        "https://evil/?https://fal.run/",
        "https://evil#@fal.run/",
        "https://evil\\@fal.run/",
        "//fal.run/openrouter/router/video",
        "file:///etc/passwd",
        "ftp://fal.run/openrouter/router/video",
        "",
    ],
)
def test_c009_the_proxy_route_is_not_fooled(raw, target):
    answer = proxied(raw, target)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"


def test_c014_the_older_js_client_gets_the_data_itself(node, asked):
    answer = node("redirect.c014", input=asked())
    assert set(answer) == {"output", "usage"}
    assert saw_jfk(answer["output"])


def test_c015_fals_own_server_proxy_in_front(node, wire, asked):
    counting = asked("echo/count-20-wait-1")
    answer = node("redirect.c015", input=asked(), counting=counting)
    assert saw_jfk(answer["run"]["data"]["output"])
    assert answer["run"]["requestId"]
    assert saw_jfk(answer["queue"]["data"]["output"])
    assert len(answer["stream"]["events"]) > 2
    assert answer["stream"]["last"]["output"].split()[-1] == "20"
    assert {call.headers["x-fal-client-proxy"] for call in wire.calls} == {
        "@fal-ai/server-proxy/nextjs-app-router"
    }


def test_c016_a_trailing_slash_changes_nothing(raw):
    body = {"prompt": "x", "model": "echo/echo"}
    done = raw.post(f"/queue/{ENDPOINT}", json=body).json()["request_id"]
    base = f"/queue/openrouter/router/requests/{done}"
    finished(raw, base)
    for method, path, sent in [
        ("POST", f"/{ENDPOINT}", body),
        ("POST", f"/{ENDPOINT}/stream", body),
        ("POST", f"/queue/{ENDPOINT}", body),
        ("GET", base, None),
        ("GET", f"{base}/status", None),
        ("GET", f"{base}/status/stream", None),
        ("PUT", f"{base}/cancel", None),
        ("POST", "/rest/tokens", {"allowed_apps": ["router"]}),
        ("POST", "/rest/storage/upload/initiate", {"content_type": "video/mp4", "file_name": "a"}),
        ("GET", "/health", None),
        ("GET", "/nothing/here", None),
    ]:
        one, two = (raw.request(method, path + end, json=sent) for end in ("", "/"))
        assert one.status_code == two.status_code, path
        assert not one.is_redirect
        assert shape(one) == shape(two), path
        target = f"https://queue.fal.run{base.removeprefix('/queue')}/status/"
    through = raw.get("/api/fal/proxy/", headers={"x-fal-target-url": target})
    assert through.json()["status"] == "COMPLETED"


def finished(raw, base):
    with raw.stream("GET", f"{base}/status/stream") as events:
        assert events.read()


def shape(answer):
    """What an answer is like, ids and figures apart."""
    if answer.headers["content-type"] != "application/json":
        return answer.headers["content-type"]
    document = answer.json()
    if not isinstance(document, dict):
        return type(document)
    return {**dict.fromkeys(document), "status": document.get("status")}


# ---------------------------------------------------------------- Python, by its environment

SUBSCRIBE = """
import fal_client
print(json.dumps(fal_client.subscribe(*given)))
"""
EVERYTHING = """
import fal_client
endpoint, question = given
client = fal_client.SyncClient()
answer = client.run(endpoint, question)
url = client.upload(b"hello", "video/mp4", "a.mp4")
token = client._get_realtime_token(endpoint)
print(json.dumps({"answer": answer, "url": url, "token": token}))
"""
FAL = ["fal.run", "queue.fal.run", "rest.fal.ai", "v3.fal.media", "v3b.fal.media"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def front(background, authority):
    """Telecine's TLS end."""
    names = ["localhost", "telecine.example.test", "queue.telecine.example.test"]
    with Front(background, authority.context(names)) as front:
        yield front


@pytest.fixture(scope="module")
def behind_tls(serving, front):
    """A server that knows itself by the name that the TLS end has."""
    public = {"TELECINE_PUBLIC_URL": f"https://localhost:{front.port}"}
    server = serving(env=public, port=free_port())
    front.target = server.address
    return server


@pytest.mark.usefixtures("behind_tls")
def test_c010_python_by_its_environment_with_a_prefix_for_the_queue(
    front, authority, asked, tmp_path
):
    env = {
        "FAL_KEY": KEY,
        "FAL_RUN_HOST": f"localhost:{front.port}",
        "FAL_QUEUE_RUN_HOST": f"localhost:{front.port}/queue",
        "SSL_CERT_FILE": str(authority.file),
    }
    answer = run(SUBSCRIBE, ENDPOINT, asked(), folder=tmp_path, env=env)
    assert saw_jfk(answer["output"])


def test_c011_python_by_its_environment_with_a_queue_host_in_dns(
    background, authority, serving, asked, tmp_path
):
    names = ["telecine.example.test", "queue.telecine.example.test"]
    with Front(background, authority.context(names)) as front:
        host = f"telecine.example.test:{front.port}"
        server = serving(env={"TELECINE_PUBLIC_URL": f"https://{host}"}, port=free_port())
        front.target = server.address
        env = {"FAL_KEY": KEY, "FAL_RUN_HOST": host, "SSL_CERT_FILE": str(authority.file)}
        answer = run(SUBSCRIBE, ENDPOINT, asked(), folder=tmp_path, env=env, has_names=True)
        assert server.stop() == 0
    assert saw_jfk(answer["output"])


def test_c012_python_through_a_connect_proxy(background, authority, server, asked, tmp_path):
    context = authority.context(FAL)
    with ConnectProxy(background, context, FAL, server.address) as proxy:
        env = {"FAL_KEY": KEY, "HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.file)}
        got = run(EVERYTHING, ENDPOINT, asked(), folder=tmp_path, env=env)
        assert set(proxy.asked) == {"fal.run", "rest.fal.ai", "v3.fal.media"}
    assert saw_jfk(got["answer"]["output"])
    assert got["token"].count(".") == 2
    path = got["url"].removeprefix("https://v3.fal.media")
    assert httpx.get(server.origin + path, headers={"Host": "v3.fal.media"}).content == b"hello"


def test_c013_python_with_its_addresses_moved_uploads_and_subscribes(fal):
    clip = (DATA / "jfk_slides.mp4").read_bytes()
    url = fal.upload(clip, "video/mp4", "a.mp4")
    assert httpx.get(url).content == clip
    answer = fal.subscribe(ENDPOINT, {"prompt": "x", "model": "echo/echo", "video_urls": [url]})
    assert saw_jfk(answer["output"])
