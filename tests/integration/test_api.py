"""The HTTP edge, in process: real keys, database and spool; a worker and a queue that do as told."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes import api
from tests.fakes.asgi import Browser

from telecine import wire
from telecine.api import edge, sse, stream
from telecine.api.parts import Parts
from telecine.api.routes import application
from telecine.db.sqlite import SQLite
from telecine.errors import Cancelled, InputError, LimitReached, ProviderFailed, ProviderUnavailable
from telecine.files import Files
from telecine.jobs.bells import Bells
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.signing import SigningKeys
from telecine.keys import Keys
from telecine.media.spool import Spool
from telecine.models import Caller, Delta, Done, Outcome, Receipt, Request, Usage
from telecine.providers.echo import Echo
from telecine.providers.registry import Registry
from telecine.storage.local import LocalStorage

EP = "openrouter/router/video"
IN = {"prompt": "p", "model": "echo/echo"}
PROXY = "/api/fal/proxy"


@pytest.fixture
def opened(tmp_path):
    """A server's HTTP side, with a browser that has a key."""

    @asynccontextmanager
    async def opened(*script, **options):
        async with (
            SQLite(tmp_path / "db") as db,
            LocalStorage(tmp_path / "objects") as storage,
            Spool(tmp_path / "spool", max_bytes_per_key=10**7, max_file_bytes=10**7) as spool,
            Echo("echo") as echo,
        ):
            keys = Keys(db=db, clock=lambda: 1_800_000_000.0, secret=bytes(32))
            parts = Parts(
                db=db,
                deliveries=Deliveries(db=db, bells=Bells(), clock=time.time),
                signing_keys=SigningKeys(tmp_path / "webhook-keys.json", clock=time.time),
                storage=storage,
                files=Files(db=db, storage=storage, clock=lambda: 1_800_000_000.0),
                keys=keys,
                spool=spool,
                registry=Registry({"echo": echo}, {}),
                inference=api.Inference(),
                queue=api.Queue(),
                worker=api.Worker(*script),
                **options,
            )
            app = application(parts)
            key = (await keys.create()).key
            yield SimpleNamespace(
                app=app,
                parts=parts,
                keys=keys,
                queue=parts.queue,
                worker=parts.worker,
                call=Browser(app, key=key),
                key=key,
            )

    return opened


@pytest.fixture
def serve(run, opened):
    """Run a test's coroutine function against a server."""

    def serve(test, *script, **options):
        async def main():
            async with opened(*script, **options) as server:
                return await test(server)

        return run(main())

    return serve


def call(*args, **kwargs):
    return lambda server: server.call(*args, **kwargs)


# ---------------------------------------------------------------- run


def test_run_answers_with_fals_output(serve):
    answer = serve(call("POST", f"/{EP}", IN))
    assert answer.status == 200
    assert answer.json == {
        "output": "hello",
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 3, "cost": 0},
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-fal-billable-units"] == "1"


def test_the_request_id_is_a_uuid_and_the_one_that_ran(serve):
    async def test(server):
        answer = await server.call("POST", f"/{EP}", IN)
        return answer.headers["x-fal-request-id"], server.worker.requests[0].id

    told, ran = serve(test)
    assert str(UUID(told)) == ran


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (f"/{EP}/", None),
        (f"//{EP}", None),
        (f"/{EP}", "fal.run"),
        (f"/{EP}/enterprise", None),
    ],
)
def test_run_is_reached_however_it_is_addressed(serve, target, host):
    assert serve(call("POST", target, IN, host=host)).status == 200


def test_run_through_the_proxy_route(serve):
    headers = {"x-fal-target-url": f"https://fal.run/{EP}"}
    assert serve(call("POST", PROXY, IN, headers=headers)).json["output"] == "hello"


@pytest.mark.parametrize("target", [None, "https://example.com/", "http://169.254.169.254/"])
def test_the_proxy_route_goes_nowhere_else(serve, target):
    answer = serve(call("GET", PROXY, headers={"x-fal-target-url": target} if target else {}))
    assert answer.status == 400
    assert "x-fal-target-url" in answer.json["detail"]


@pytest.mark.parametrize("seconds", ["5", "5.0"])
def test_a_start_timeout_is_a_number_however_it_is_written(serve, seconds):
    async def test(server):
        await server.call("POST", f"/{EP}", IN, headers={"x-fal-request-timeout": seconds})
        return server.worker.options

    assert serve(test) == [{"start_seconds": 5.0, "store_io": True}]


@pytest.mark.parametrize("seconds", ["soon", "-1", "0", "nan", "inf"])
def test_a_start_timeout_that_is_none_is_refused(serve, seconds):
    answer = serve(call("POST", f"/{EP}", IN, headers={"x-fal-request-timeout": seconds}))
    assert answer.status == 400


@pytest.mark.parametrize(
    ("body", "type"),
    [
        (b"", "model_attributes_type"),
        (b"{", "json_invalid"),
        (b"[]", "model_attributes_type"),
        (b"\xff", "json_invalid"),
    ],
)
def test_a_body_that_is_no_input_is_a_422(serve, body, type):
    answer = serve(call("POST", f"/{EP}", body=body, headers={"content-type": "application/json"}))
    assert (answer.status, answer.json["detail"][0]["type"]) == (422, type)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_other_verbs_are_405(serve, method):
    answer = serve(call(method, f"/{EP}"))
    assert (answer.status, answer.json) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("/openrouter/router/nope", "Path /nope not found"),
        ("/fal-ai/flux/dev", 'Application "flux" not found'),
        ("/nope", "Path /nope not found"),
        (f"/{EP}/realtime", "Path /video/realtime not found"),
    ],
)
def test_what_is_not_there_is_a_404_that_names_it(serve, target, detail):
    answer = serve(call("POST", target, IN))
    assert (answer.status, answer.json) == (404, {"detail": detail})


def test_without_a_key_it_is_401(serve):
    answer = serve(lambda server: Browser(server.app, key=None)("POST", f"/{EP}", IN))
    assert answer.status == 401
    assert answer.json["detail"].startswith('Cannot access application "openrouter/router"')


def test_a_wrong_key_is_fals_401(serve):
    answer = serve(lambda server: Browser(server.app, key="a:b")("POST", f"/{EP}", IN))
    assert (answer.status, answer.json) == (401, {"detail": "invalid key credentials"})


def test_any_case_of_the_scheme_will_do(serve):
    async def test(server):
        headers = {"authorization": f"key {server.key}"}
        return await server.call("POST", f"/{EP}", IN, headers=headers)

    assert serve(test).status == 200


def test_a_failure_keeps_its_code_and_body(serve):
    error = ProviderUnavailable("busy", retry_after_seconds=7)
    answer = serve(call("POST", f"/{EP}", IN), error)
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert answer.json["detail"][0]["type"] == "downstream_service_unavailable"


def test_over_the_limit_it_is_429_in_fals_words(serve):
    error = LimitReached("Reached concurrent requests limit of 2", data={"limit": 2})
    answer = serve(call("POST", f"/{EP}", IN), error)
    assert answer.status == 429
    assert answer.json == {
        "detail": "Reached concurrent requests limit of 2",
        "type": "concurrent_requests_limit",
        "data": {"limit": 2},
    }
    assert answer.headers["x-fal-needs-retry"] == "1"


def test_a_bug_is_a_bare_500_with_its_story_in_the_log(serve, caplog):
    answer = serve(call("POST", f"/{EP}", IN), RuntimeError("secret"))
    assert (answer.status, answer.json) == (500, {"detail": "Internal Server Error"})
    assert answer.headers["x-fal-request-id"]
    assert "RuntimeError: secret" in caplog.text


def test_hanging_up_stops_the_run(serve):
    never = asyncio.Event()

    async def test(server):
        going = asyncio.create_task(server.call("POST", f"/{EP}", IN))
        await server.worker.started.wait()
        server.call.hang_up.set()
        assert await going is None
        return server.worker.stopped.is_set()

    assert serve(test, never)


def test_stopping_the_server_is_not_mistaken_for_a_hang_up(serve):
    never = asyncio.Event()

    async def test(server):
        going = asyncio.create_task(server.call("POST", f"/{EP}", IN))
        await server.worker.started.wait()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    serve(test, never)


def test_a_long_data_uri_is_spooled_and_gone_afterwards(serve):
    uri = "data:video/mp4;base64," + "AAAA" * 50_000

    async def test(server):
        answer = await server.call("POST", f"/{EP}", IN | {"video_urls": [uri]})
        (attachment,) = server.worker.requests[0].attachments.values()
        return answer.status, attachment.bytes, attachment.path.exists()

    assert serve(test) == (200, 150_000, False)


# ---------------------------------------------------------------- bodies nobody wants


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(serve):
    async def test(server):
        answer = await server.call("POST", f"/{EP}", body=b"x" * 5_000_000)
        return answer, server.call.read_bytes

    answer, read_bytes = serve(test, max_body_bytes=1000)
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert read_bytes <= edge.DRAIN_BYTES + 65536


def test_a_wrong_key_is_told_before_the_body_is_read(serve):
    async def test(server):
        stranger = Browser(server.app, key="a:b")
        answer = await stranger("POST", f"/{EP}", body=b"x" * 5_000_000)
        return answer, stranger.read_bytes

    answer, read_bytes = serve(test)
    assert (answer.status, answer.headers["connection"]) == (401, "close")
    assert read_bytes <= edge.DRAIN_BYTES + 65536


def test_a_small_body_is_read_to_its_end_so_that_the_connection_lives(serve):
    answer = serve(lambda server: Browser(server.app, key="a:b")("POST", f"/{EP}", IN))
    assert "connection" not in answer.headers


def test_a_client_that_waits_for_a_word_sends_nothing(serve):
    async def test(server):
        stranger = Browser(server.app, key="a:b")
        await stranger("POST", f"/{EP}", IN, headers={"expect": "100-continue"})
        return stranger.read_bytes

    assert serve(test) == 0


def test_a_chunked_body_over_the_cap_is_refused(serve):
    body = json.dumps(IN | {"video_urls": ["data:video/mp4;base64," + "AAAA" * 100_000]}).encode()
    answer = serve(
        call("POST", f"/{EP}", body=body, headers={"content-length": ""}), max_body_bytes=200_000
    )
    assert answer.status == 413


# ---------------------------------------------------------------- stream


def test_a_stream_is_cumulative_and_ends_with_the_whole_answer(serve):
    gate = asyncio.Event()

    async def test(server):
        going = asyncio.create_task(server.call("POST", f"/{EP}/stream", IN))
        await asyncio.sleep(0.01)
        gate.set()
        return await going

    answer = serve(test, Delta("hel"), gate, Delta("lo"), Usage(total_tokens=3), Done())
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.events[0] == {"output": "hel", "partial": True, "error": None}
    assert answer.events[-1] == {
        "output": "hello",
        "partial": False,
        "error": None,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 3, "cost": 0},
    }
    assert answer.body.isascii()
    assert b"[DONE]" not in answer.body


def test_even_an_answer_in_one_piece_is_two_events(serve):
    events = serve(call("POST", f"/{EP}/stream", IN)).events
    assert [event["partial"] for event in events] == [True, False]


def test_an_empty_answer_is_one_event(serve):
    events = serve(call("POST", f"/{EP}/stream", IN), Usage(), Done()).events
    assert [(event["output"], event["partial"]) for event in events] == [("", False)]


def test_reasoning_and_receipt_are_in_the_last_event_when_asked_for(serve):
    script = (Delta("", "hmm"), Delta("yes"), Receipt(lambda: {"videos": []}), Usage(), Done())
    asked = serve(call("POST", f"/{EP}/stream", IN | {"reasoning": True, "receipt": True}), *script)
    assert asked.events[-1]["reasoning"] == "hmm"
    assert asked.events[-1]["receipt"] == {"videos": []}
    plain = serve(call("POST", f"/{EP}/stream", IN), *script).events[-1]
    assert not {"reasoning", "receipt"} & plain.keys()


@pytest.mark.parametrize(
    ("script", "document", "status"),
    [
        ((Done(),), IN | {"temperature": 3}, 422),
        ((ProviderUnavailable("busy"),), IN, 503),
        ((LimitReached("full"),), IN, 429),
    ],
)
def test_a_failure_before_the_first_word_keeps_its_code(serve, script, document, status):
    answer = serve(call("POST", f"/{EP}/stream", document), *script)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")


def test_a_stream_without_a_key_is_401(serve):
    answer = serve(lambda server: Browser(server.app, key=None)("POST", f"/{EP}/stream", IN))
    assert answer.status == 401


def test_a_failure_after_the_first_word_is_the_last_event(serve):
    answer = serve(call("POST", f"/{EP}/stream", IN), Delta("hel"), ProviderFailed("cut off"))
    assert answer.status == 200
    assert answer.events[-1] == {"output": "hel", "partial": False, "error": "cut off"}


def test_silence_is_bridged_with_comments(serve, monkeypatch):
    monkeypatch.setattr(sse, "PING_SECONDS", 0.001)
    monkeypatch.setattr(stream, "FIRST_WORD_SECONDS", 0.001)
    gate = asyncio.Event()

    async def test(server):
        going = asyncio.create_task(server.call("POST", f"/{EP}/stream", IN))
        await asyncio.sleep(0.05)
        gate.set()
        return await going

    answer = serve(test, gate, Delta("late"), Done())
    assert answer.body.startswith(b": ping\n\n: ping\n\n")
    assert answer.events[-1]["output"] == "late"


def test_hanging_up_stops_the_stream(serve):
    never = asyncio.Event()

    async def test(server):
        going = asyncio.create_task(server.call("POST", f"/{EP}/stream", IN))
        await server.worker.started.wait()
        server.call.hang_up.set()
        await going
        return server.worker.stopped.is_set()

    assert serve(test, Delta("a"), never)


def test_a_slow_reader_skips_but_gets_the_whole_answer(run, opened):
    """The upstream is read to its end while the reader holds up the first event."""

    async def main():
        async with opened(*[Delta("word ")] * 1000, Usage(), Done()) as server:
            sent, ended = [], server.worker.stopped

            async def slow(message):
                sent.append(message)
                if message["type"] == "http.response.body":
                    await ended.wait()

            received = iter([{"type": "http.request", "body": json.dumps(IN).encode()}])

            async def receive():
                return next(received, None) or await asyncio.Event().wait()

            scope = {
                "type": "http",
                "method": "POST",
                "path": f"/{EP}/stream",
                "query_string": b"",
                "headers": [(b"authorization", f"Key {server.key}".encode())],
            }
            await server.app(scope, receive, slow)
            return [message["body"] for message in sent[1:]]

    bodies = run(main())
    assert len(bodies) < 10
    assert json.loads(bodies[-1].split(b"data: ")[1])["output"] == "word " * 1000


def test_a_stream_through_the_proxy_route(serve):
    headers = {"x-fal-target-url": f"https://fal.run/{EP}/stream", "accept": "application/json"}
    assert serve(call("POST", PROXY, IN, headers=headers)).events[-1]["output"] == "hello"


def test_a_temporary_token_streams_its_own_application_and_no_other(serve):
    async def test(server):
        caller = Caller(server.key.partition(":")[0])
        anybody = Browser(server.app, key=None)
        good, other = (server.keys.token(caller, [app], 120) for app in ("router", "flux"))
        return [
            (await anybody("POST", f"/{EP}/stream?fal_jwt_token={token}", IN)).status
            for token in (good, other, good + "x")
        ]

    assert serve(test) == [200, 403, 401]


# ---------------------------------------------------------------- queue


def submitted(test):
    """A test of a job just submitted: test(server, its id, the short form of its path)."""

    async def with_job(server):
        answer = await server.call("POST", f"/queue/{EP}", IN)
        request_id = answer.json["request_id"]
        return await test(server, request_id, f"/queue/openrouter/router/requests/{request_id}")

    return with_job


def test_submit_answers_with_ids_and_urls(serve):
    answer = serve(call("POST", f"/queue/{EP}", IN))
    request_id = answer.json["request_id"]
    base = f"http://localhost:8484/queue/openrouter/router/requests/{request_id}"
    assert answer.status == 200
    assert answer.headers["x-fal-request-id"] == request_id
    assert answer.json == {
        "status": "IN_QUEUE",
        "request_id": request_id,
        "queue_position": 0,
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
        "logs": None,
        "metrics": {},
    }


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("queue.fal.run", "https://queue.fal.run"),
        ("queue.example.org:1", "http://queue.example.org:1"),
    ],
)
def test_urls_follow_the_way_in(serve, host, base):
    answer = serve(call("POST", f"/{EP}", IN, host=host))
    assert answer.json["status_url"].startswith(f"{base}/openrouter/router/requests/")


def test_the_public_url_wins(serve):
    answer = serve(call("POST", f"/queue/{EP}", IN), public_url="https://video.example.org")
    assert answer.json["cancel_url"].startswith("https://video.example.org/queue/openrouter/")


def test_what_the_caller_wants_of_the_queue_is_passed_on(serve):
    headers = {
        "x-fal-queue-priority": "low",
        "x-fal-request-timeout": "60.0",
        "x-fal-request-start-timeout": "5",
        "x-fal-no-retry": "yes",
        "x-fal-store-io": "0",
        "idempotency-key": "once",
        "x-fal-runner-hint": "a",
        "x-fal-unheard-of": "b",
    }
    target = f"/queue/{EP}?fal_webhook=https%3A%2F%2Fx.org%2Fh&fal_max_queue_length=3"

    async def test(server):
        assert (await server.call("POST", target, IN, headers=headers)).status == 200
        return server.queue.options

    assert serve(test) == [
        {
            "priority": "low",
            "webhook_url": "https://x.org/h",
            "start_seconds": 5.0,
            "max_queue_length": 3,
            "no_retry": True,
            "store_io": False,
            "idempotency_key": "once",
        }
    ]


@pytest.mark.parametrize(
    "query",
    [
        "fal_webhook=ftp%3A%2F%2Fx",
        "fal_webhook=x",
        "fal_webhook=http%3A%2F%2F%5B",
        "fal_max_queue_length=x",
    ],
)
def test_a_query_that_means_nothing_is_refused(serve, query):
    answer = serve(call("POST", f"/queue/{EP}?{query}", IN))
    assert (answer.status, answer.json["detail"][0]["loc"][0]) == (422, "query")


def test_bad_input_is_accepted_and_judged_later(serve):
    assert serve(call("POST", f"/queue/{EP}", {"prompt": 5})).status == 200


def test_what_is_not_json_is_not_accepted(serve):
    answer = serve(call("POST", f"/queue/{EP}", body=b"{"))
    assert (answer.status, answer.json["detail"][0]["type"]) == (422, "json_invalid")


@pytest.mark.parametrize("target", ["/queue/openrouter/router/nope", "/queue/a/b"])
def test_only_endpoints_that_exist_take_jobs(serve, target):
    assert serve(call("POST", target, IN)).status == 404


@pytest.mark.parametrize(
    ("state", "code"),
    [("queued", 202), ("running", 202), ("succeeded", 200), ("failed", 200), ("cancelled", 200)],
)
def test_the_code_of_a_status_says_whether_it_is_finished(serve, state, code):
    @submitted
    async def test(server, request_id, path):
        server.queue.move(request_id, state)
        return await server.call("GET", f"{path}/status")

    answer = serve(test)
    assert answer.status == code
    assert answer.json["logs"] is None
    assert answer.headers["x-fal-request-id"] == answer.json["request_id"]


@pytest.mark.parametrize("on", ["1", "true", "True"])
def test_logs_come_when_asked_for(serve, on):
    @submitted
    async def test(server, request_id, path):
        server.queue.move(request_id, "running", logs=["a", "b"])
        return await server.call("GET", f"{path}/status?logs={on}")

    assert [line["message"] for line in serve(test).json["logs"]] == ["a", "b"]


@pytest.mark.parametrize("query", ["", "?logs=0", "?logs=false", "?logs="])
def test_and_else_they_are_null(serve, query):
    @submitted
    async def test(server, _id, path):
        return await server.call("GET", f"{path}/status{query}")

    assert serve(test).json["logs"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/queue/openrouter/router/requests/{}/status",
        "/queue/openrouter/router/requests/{}/status/",
        f"/queue/{EP}/requests/{{}}/status",
    ],
)
def test_short_and_long_paths_lead_to_the_job(serve, path):
    @submitted
    async def test(server, request_id, _path):
        return await server.call("GET", path.format(request_id))

    assert serve(test).status == 202


@pytest.mark.parametrize(
    "path",
    [
        "/queue/fal-ai/flux/requests/{}/status",
        "/queue/openrouter/router/vision/requests/{}/status",
        "/queue/workflows/me/flow/requests/{}/status",
        "/queue/comfy/me/flow/requests/{}",
        "/queue/openrouter/router/requests/{}x/status",
        "/queue/openrouter/router/requests/{}x",
    ],
)
def test_anything_else_is_not_found(serve, path):
    @submitted
    async def test(server, request_id, _path):
        return await server.call("GET", path.format(request_id))

    answer = serve(test)
    assert (answer.status, answer.json["status"]) == (404, "NOT_FOUND")
    assert answer.json["detail"]


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("GET", "/status"), ("GET", "/status/stream"), ("PUT", "/cancel")])  # fmt: skip
def test_another_keys_request_is_not_found(serve, method, suffix):
    @submitted
    async def test(server, _id, path):
        other = Browser(server.app, key=(await server.keys.create()).key)
        return await other(method, path + suffix)

    assert serve(test).status == 404


def kept(request_id):
    request = Request(id=request_id, endpoint=EP, mode="queue", caller=Caller("k"), document=IN)
    return wire.result(request, Outcome(output="kept"))


@pytest.mark.parametrize("suffix", ["", "/", "/response"])
def test_a_result_is_replayed_with_its_headers(serve, suffix):
    @submitted
    async def test(server, request_id, path):
        server.queue.move(request_id, "succeeded", result=kept(request_id))
        return await server.call("GET", path + suffix), request_id

    answer, request_id = serve(test)
    assert (answer.status, answer.json["output"]) == (200, "kept")
    assert answer.headers["x-fal-request-id"] == request_id
    assert answer.headers["x-fal-billable-units"] == "1"


def test_a_failed_job_answers_with_the_models_own_error(serve):
    @submitted
    async def test(server, request_id, path):
        failed = wire.failure(InputError("bad", loc=("body", "prompt")), request_id=request_id)
        server.queue.move(request_id, "failed", result=failed)
        return await server.call("GET", path)

    answer = serve(test)
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "prompt"])


def test_a_cancelled_job_answers_with_499(serve):
    @submitted
    async def test(server, request_id, path):
        server.queue.move(
            request_id, "cancelled", result=wire.failure(Cancelled(), request_id=request_id)
        )
        return await server.call("GET", path)

    answer = serve(test)
    assert (answer.status, answer.headers["x-fal-error-type"]) == (499, "client_cancelled")


def test_a_result_before_its_time_is_a_400_with_the_words_that_others_compare(serve):
    @submitted
    async def test(server, request_id, path):
        return await server.call("GET", path), request_id

    answer, request_id = serve(test)
    assert (answer.status, answer.json) == (400, {"detail": "Request is still in progress"})
    assert answer.headers["x-fal-request-id"] == request_id


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_cancel_is_accepted(serve, method):
    @submitted
    async def test(server, _id, path):
        return await server.call(method, f"{path}/cancel")

    answer = serve(test)
    assert answer.status == 202
    assert answer.json == {"status": "CANCELLATION_REQUESTED", "success": True}


def test_what_is_finished_cannot_be_cancelled(serve):
    @submitted
    async def test(server, request_id, path):
        server.queue.move(request_id, "succeeded")
        return await server.call("PUT", f"{path}/cancel")

    answer = serve(test)
    assert (answer.status, answer.json["status"]) == (400, "ALREADY_COMPLETED")
    assert answer.json["detail"]


def test_the_status_stream_tells_every_change_until_completed(serve):
    @submitted
    async def test(server, request_id, path):
        going = asyncio.create_task(server.call("GET", f"{path}/status/stream?logs=1"))
        await asyncio.sleep(0.02)
        server.queue.move(request_id, "running", logs=["a"])
        await asyncio.sleep(0.02)
        server.queue.move(request_id, "succeeded", logs=["b"])
        return await going, request_id

    answer, request_id = serve(test)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-fal-request-id"] == request_id
    states = [(e["status"], [line["message"] for line in e["logs"]]) for e in answer.events]
    assert states == [("IN_QUEUE", []), ("IN_PROGRESS", ["a"]), ("COMPLETED", ["b"])]


def test_the_status_stream_of_a_finished_job_is_one_event(serve):
    @submitted
    async def test(server, request_id, path):
        server.queue.move(request_id, "succeeded")
        return await server.call("GET", f"{path}/status/stream")

    assert [event["status"] for event in serve(test).events] == ["COMPLETED"]


def test_hanging_up_ends_the_status_stream(serve):
    @submitted
    async def test(server, _id, path):
        server.call.hang_up.set()
        return await server.call("GET", f"{path}/status/stream")

    serve(test)


# ---------------------------------------------------------------- what every answer has


@pytest.mark.parametrize("target", [f"/{EP}", f"/queue/{EP}", "/files/b/1/x", PROXY, "/nope", "/"])
def test_every_path_answers_a_preflight(serve, target):
    asked = "authorization,content-type,x-fal-target-url"
    headers = {
        "origin": "https://page.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": asked,
    }
    answer = serve(lambda server: Browser(server.app, key=None)("OPTIONS", target, headers=headers))
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == asked
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("target", ["/health", "/nope", f"/{EP}"])
def test_every_answer_has_an_id_and_lets_pages_see_it(serve, target):
    answer = serve(call("GET", target))
    assert UUID(answer.headers["x-fal-request-id"])
    assert "x-fal-request-id" in answer.headers["access-control-expose-headers"]


SEGMENTS = st.sampled_from(
    ["queue", "rest", "files", "cdn", "v1", "telecine", "models", "requests", "status", "stream",
     "cancel", "openrouter", "router", "video", "upload", "tokens", "api", "fal", "proxy", "health",
     "llms.txt", "..", ".", "", "%2e%2e", "%2F", "%00", "%ff", "é", "workflows", "complete", "1"]
)  # fmt: skip
HEADERS = st.sampled_from(
    ["host", "content-length", "content-type", "x-fal-target-url", "x-fal-request-timeout", "range",
     "x-fal-queue-priority", "idempotency-key", "origin", "expect", "x-fal-object-lifecycle",
     "x-fal-file-name", "if-range", "transfer-encoding", "access-control-request-headers"]
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        ["0", "-1", "1e999", "fal.run", "queue.x", "[::1", "https://fal.run/a/b", "{", "bytes=0-"]
    ),
    st.text(st.characters(max_codepoint=255), max_size=20),
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"null", b'{"prompt":"\\ud800","model":"m"}', b"[" * 2000, b"1" * 5000, b'{"a":NaN}']
    ),
)


def test_nothing_that_a_stranger_sends_is_a_500(run, opened):
    """Raw scopes, with a good key: every failure is JSON that says what is wrong."""

    async def main():
        async with opened(public_url=None) as server:
            loop = asyncio.get_running_loop()

            @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
            @given(
                st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "BREW"]),
                st.lists(SEGMENTS, max_size=8),
                st.text(st.characters(max_codepoint=127), max_size=30),
                st.dictionaries(HEADERS, TEXTS, max_size=4),
                BODIES,
            )
            def never_a_500(method, segments, query, headers, body):
                path = "/" + "/".join(segments)
                given = {"host": "localhost:8484", "authorization": f"Key {server.key}", **headers}
                scope = {
                    "type": "http",
                    "method": method,
                    "path": path,
                    "raw_path": path.encode(),
                    "query_string": query.encode(),
                    "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
                    "scheme": "http",
                    "server": ("127.0.0.1", 8484),
                }
                going = asyncio.run_coroutine_threadsafe(
                    Browser(server.app).exchange(scope, [body]), loop
                )
                answer = going.result(20)
                assert answer.status < 500 or answer.status == 501, answer.body
                if answer.status >= 400:
                    assert answer.headers["content-type"] == "application/json"
                    assert answer.json.get("detail") or answer.json["error"]["message"]

            await asyncio.to_thread(never_a_500)

    run(main())


# ---------------------------------------------------------------- without keys


def test_without_keys_the_own_machine_may_call(serve):
    answer = serve(lambda server: Browser(server.app, key=None)("POST", f"/{EP}", IN), is_open=True)
    assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
@pytest.mark.parametrize("target", [f"/{EP}", "/telecine/v1/requests", PROXY, "/health"])
def test_without_keys_no_page_of_a_stranger_may(serve, headers, target):
    headers = headers | {"x-fal-target-url": f"https://fal.run/{EP}"}
    answer = serve(
        lambda server: Browser(server.app, key=None)("POST", target, IN, headers=headers),
        is_open=True,
    )
    assert answer.status == 403


def test_without_keys_files_can_be_uploaded_too(serve):
    body = {"content_type": "video/mp4", "file_name": "a.mp4"}
    target = "/rest/storage/upload/initiate?storage_type=fal-cdn-v3"
    answer = serve(lambda server: Browser(server.app, key=None)("POST", target, body), is_open=True)
    assert answer.status == 200


# ---------------------------------------------------------------- health, documents, our own API


@pytest.mark.parametrize("target", ["/health", "/ready", "/"])
def test_some_things_need_no_key(serve, target):
    assert serve(lambda server: Browser(server.app, key=None)("GET", target)).status == 200


@pytest.mark.parametrize("target", ["/metrics", "/telecine/v1/requests", "/telecine/v1/models"])
def test_what_tells_of_requests_needs_one(serve, target):
    assert serve(lambda server: Browser(server.app, key=None)("GET", target)).status == 401
    assert serve(call("GET", target)).status == 200


def test_the_openapi_document_has_fals_shape(serve):
    target = f"/api/openapi/queue/openapi.json?endpoint_id={EP}"
    document = serve(call("GET", target, host="fal.ai")).json
    schemas = document["components"]["schemas"]
    given = schemas["RouterVideoInput"]
    assert document["openapi"] == "3.0.4"
    assert document["info"]["x-fal-metadata"]["endpointId"] == EP
    assert given["title"] == "VideoInput"
    assert list(given["properties"]) == given["x-fal-order-properties"]
    assert list(given["properties"])[:8] == [
        "video_urls", "prompt", "system_prompt", "model", "reasoning", "temperature", "max_tokens",
        "video_url",  # and then the rest of what is ours
    ]  # fmt: skip
    assert given["required"] == ["prompt", "model"]
    assert given["properties"]["temperature"]["maximum"] == 2
    assert given["properties"]["temperature"]["default"] == 1
    assert given["properties"]["video_urls"]["items"] == {"type": "string"}
    assert schemas["RouterVideoOutput"]["x-fal-order-properties"] == ["output", "usage"]
    assert "cost" in schemas["UsageInfo"]["required"]
    assert set(document["paths"]) == {
        f"/{EP}",
        f"/{EP}/requests/{{request_id}}",
        f"/{EP}/requests/{{request_id}}/status",
        f"/{EP}/requests/{{request_id}}/cancel",
    }
    assert document["servers"] == [{"url": "https://queue.fal.run"}]


def test_an_unknown_endpoint_has_no_document(serve):
    answer = serve(call("GET", "/api/openapi/queue/openapi.json?endpoint_id=a/b"))
    assert answer.status == 404
    assert EP in answer.json["detail"]


def test_llms_txt_says_how_to_call_it(serve):
    text = serve(call("GET", f"/models/{EP}/llms.txt")).body.decode()
    assert f"http://localhost:8484/{EP}" in text
    assert "**`prompt`** (string, required)" in text
    assert "**`temperature`** (number, optional, default 1, from 0, to 2)" in text


def test_models_are_listed_by_the_name_to_ask_for(serve):
    names = [model["model"] for model in serve(call("GET", "/telecine/v1/models")).json["models"]]
    assert "echo/echo" in names


def test_an_unknown_request_has_no_story(serve):
    assert serve(call("GET", "/telecine/v1/requests/nope")).status == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1000", "cursor=x", "cursor=99999999999999999999"]
)
def test_a_page_that_cannot_be_is_refused(serve, query):
    assert serve(call("GET", f"/telecine/v1/requests?{query}")).status == 400


def test_a_websocket_is_refused_with_json(run, opened):
    async def main():
        async with opened() as server:
            sent = []
            scope = {
                "type": "websocket",
                "path": f"/{EP}/realtime",
                "headers": [],
                "extensions": {"websocket.http.response": {}},
            }

            async def receive():
                return {"type": "websocket.connect"}

            async def send(message):
                sent.append(message)

            await server.app(scope, receive, send)
            return sent

    start, body = run(main())
    assert start["status"] == 404
    assert json.loads(body["body"])["detail"]
