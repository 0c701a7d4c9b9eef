"""C035-C050: the answer as it grows (spec 5)."""

import asyncio
import itertools
import json
import uuid

import fal_client
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.waiting import eventually

BODY = {"prompt": "x", "model": "echo/echo"}
COUNTING = {"prompt": "x", "model": "echo/count-30-wait-1"}
WORDS = " ".join(str(number) for number in range(1, 31))


def test_c035_js_iterates_and_done_is_the_last_event(node, wire):
    answer = node("stream.all", input=COUNTING)
    assert len(answer["events"]) >= 2
    assert answer["last"] == answer["events"][-1]
    assert answer["last"]["partial"] is False
    assert all(event["partial"] is True for event in answer["events"][:-1])
    (call,) = wire.calls
    assert call.target == f"https://fal.run/{ENDPOINT}/stream"


def test_c036_every_event_holds_the_text_so_far(node):
    outputs = [event["output"] for event in node("stream.all", input=COUNTING)["events"]]
    assert len(set(outputs)) > 2
    for one, next_ in itertools.pairwise(outputs):
        assert next_.startswith(one)


def test_c037_the_last_event_has_what_a_run_has(node):
    answer = node("stream.run_too", input=COUNTING)
    assert answer["stream"]["last"]["output"] == answer["run"]["output"] == WORDS
    assert answer["stream"]["last"]["usage"] == answer["run"]["usage"]


def test_c038_python_streams_dicts_to_the_end(python, wire):
    events = list(python(wire.url).stream(ENDPOINT, COUNTING))
    assert all(isinstance(event, dict) for event in events)
    assert len(events) > 2
    assert events[-1]["output"] == WORDS

    async def work():
        client = python(wire.url, kind=fal_client.AsyncClient)
        found = [event async for event in client.stream(ENDPOINT, COUNTING)]
        await (await client._client).aclose()
        return found

    assert asyncio.run(work())[-1] == events[-1]


def test_c039_frames_are_what_every_parser_reads(raw):
    body = {"prompt": "Grüße, 世界 🎬", "model": "echo/echo"}
    answer = raw.post(f"/{ENDPOINT}/stream", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.content.isascii()
    assert b"[DONE]" not in answer.content
    assert answer.text.endswith("\n\n")
    events = answer.text.removesuffix("\n\n").split("\n\n")
    for event in events:
        (data,) = [line for line in event.splitlines() if line.startswith("data: ")]
        assert isinstance(json.loads(data.removeprefix("data: ")), dict)
    assert json.loads(data.removeprefix("data: "))["output"] == body["prompt"]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_c040_no_character_is_broken_however_the_network_cuts(node, wire, size):
    wire.fault("POST", split=size)
    prompt = "Grüße, 世界 🎬👩\u200d👩\u200d👧 ok"
    answer = node("stream.all", input={"prompt": prompt, "model": "echo/echo"})
    assert answer["last"]["output"] == prompt
    slow = node("stream.all", input={"prompt": prompt, "model": "fake/alphabets+bytes"})
    assert slow["last"]["output"].startswith("Grüße, 世界 🎬 I saw 0 video(s)")
    for event in answer["events"] + slow["events"]:
        assert "\ufffd" not in event["output"]


def test_c041_js_is_told_once_of_a_wrong_input(node, wire):
    answer = node("stream.told", input={**BODY, "temperature": 3})
    (error,) = answer["errors"]
    assert (error["kind"], error["status"]) == ("ValidationError", 422)
    assert error["body"]["detail"][0]["loc"] == ["body", "temperature"]
    assert error["requestId"] == wire.calls[0].answer_headers["x-fal-request-id"] != ""
    assert answer["data"] == []
    assert len(wire.calls) == 1


def test_c042_an_upstream_that_refuses_before_the_first_word(node, wire):
    answer = node("stream.told", input={"prompt": "x", "model": "echo/fail-503"})
    assert answer["rejected"]["kind"] == "ApiError"
    assert answer["rejected"]["status"] == 503
    assert answer["rejected"]["body"]["detail"]
    assert len(wire.calls) == 1


def test_c043_an_upstream_that_fails_after_the_first_word(node, wire):
    for model, begins in (("echo/fail-after-3-500", "1 2 3"), ("fake/cut", "I saw 0 video(s)")):
        answer = node("stream.told", input={"prompt": "x", "model": model})
        assert answer["errors"] == []
        assert answer["last"]["output"].startswith(begins)
        assert answer["last"]["partial"] is False
        assert isinstance(answer["last"]["error"], str)
        assert answer["last"]["error"]
        assert answer["last"] == answer["data"][-1]
    assert {call.status for call in wire.calls} == {200}


def test_c044_a_silent_upstream_is_bridged_with_comments(node, wire):
    answer = node("stream.told", input={"prompt": "x", "model": "echo/wait-20"})
    assert answer["errors"] == []
    assert answer["last"]["output"] == "x"
    (call,) = wire.calls
    assert any(chunk.startswith(b":") for _, chunk in call.chunks)
    times = [at for at, _ in call.chunks]
    assert times[-1] - times[0] > 12
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) <= 15


def test_c045_abort_ends_the_stream_and_the_upstream(node, upstream):
    before = len(upstream.received)
    answer = node("stream.c045", input={"prompt": "x", "model": "fake/slow"})
    assert answer["first"]["partial"] is True
    assert "output" in answer["last"]
    received = upstream.received[before]
    assert received.ended.wait(20)
    assert received.was_cut


def test_c046_js_streams_with_a_token_from_the_client(node, wire):
    answer = node("stream.c046", input=COUNTING)
    assert answer["last"]["output"] == WORDS
    token, stream = wire.calls
    assert token.line == "POST /rest/tokens/"
    assert stream.line.startswith(f"POST /{ENDPOINT}/stream?fal_jwt_token=")
    assert "authorization" not in stream.headers


@pytest.fixture
def token(raw):
    def token(app="router", seconds=120):
        document = {"allowed_apps": [app], "token_expiration": seconds}
        answer = raw.post("/rest/tokens/", json=document)
        assert answer.status_code in (200, 201)
        return answer.json()

    return token


def test_c047_a_token_that_is_not_good_is_refused(node, token, server):
    good, old = token(), token(seconds=1)
    with calling(server.origin, key=None) as nobody:

        def status(value):
            path = f"/{ENDPOINT}/stream?fal_jwt_token={value}"
            return nobody.post(path, json=BODY).status_code

        assert status(good) == 200
        assert eventually(lambda: status(old) == 401)
    head, payload, signature = good.split(".")
    tampered = f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for value, allowed in [(old, {401}), (tampered, {401}), (token(app="flux"), {401, 403})]:
        error = node("stream.c047", input=BODY, token=value)
        assert error["kind"] == "ApiError"
        assert error["status"] in allowed
        assert isinstance(error["body"]["detail"], str)


def test_c048_an_id_that_ends_with_stream_gets_no_second_one(node, wire):
    answer = node("stream.named", endpoint=f"{ENDPOINT}/stream", input=BODY)
    assert answer["last"]["output"] == "x"
    assert wire.lines() == [f"POST /{ENDPOINT}/stream"]


def test_c049_the_enterprise_endpoint_streams_too(node, wire):
    answer = node("stream.named", endpoint=f"{ENDPOINT}/enterprise", input=BODY)
    assert answer["last"]["output"] == "x"
    assert wire.lines() == [f"POST /{ENDPOINT}/enterprise/stream"]


def test_c050_a_client_that_accepts_json_only_gets_events_all_the_same(raw):
    answer = raw.post(f"/{ENDPOINT}/stream", json=BODY, headers={"accept": "application/json"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert uuid.UUID(answer.headers["x-fal-request-id"])
