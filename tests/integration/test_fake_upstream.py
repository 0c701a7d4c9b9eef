"""The fake upstream does on the wire what docs/reference/fake-upstream.md says of it."""

import base64
import hashlib
import json
import socket
import threading
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from tests.fakes import upstream as fake

from telecine.fake.intake import Length, Scanner
from telecine.fake.media import FILES, clip, picture
from telecine.fake.record import Record
from telecine.fake.server import is_switch, parts

DATA = Path(__file__).parents[1] / "data"
SLIDES = (DATA / "jfk_slides.mp4").read_bytes()
PER_TOKEN = (Decimal("0.0000003"), Decimal("0.0000025"))


@pytest.fixture(scope="module")
def served():
    with fake.serve() as served:
        yield served


@pytest.fixture
def upstream(served):
    """Forgets what other tests did."""
    served.forget()
    served.switches.__init__()
    return served


@pytest.fixture
def http(upstream):
    headers = {"Authorization": f"Bearer {fake.KEY}", "x-api-key": fake.KEY}
    with httpx.Client(
        base_url=upstream.url, headers=headers, timeout=20, trust_env=False
    ) as client:
        yield client


def data_uri(data=SLIDES, mime="video/mp4"):
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def body(model="google/gemini-2.5-flash", *urls, stream=True, prompt="What is in it?", **more):
    videos = [{"type": "video_url", "video_url": {"url": url}} for url in urls]
    content = [{"type": "text", "text": prompt}, *videos]
    messages = [{"role": "user", "content": content}]
    return {"model": model, "messages": messages, "stream": stream, **more}


def ask(http, model="google/gemini-2.5-flash", *urls, at="openrouter/v1", **more):
    return http.post(f"/{at}/chat/completions", json=body(model, *urls, **more))


def chunks(answer):
    lines = answer.text.splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(event) for event in events if event != "[DONE]"]


def said(answer):
    return "".join(
        choice["delta"].get("content") or "" for c in chunks(answer) for choice in c["choices"]
    )


def usage(answer):
    return next(chunk["usage"] for chunk in reversed(chunks(answer)) if "usage" in chunk)


def connected(upstream):
    host, port = upstream.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


# ---------------------------------------------------------------- 1: how a stream is written


def test_comments_stand_before_and_between_chunks(http):
    lines = ask(http, "fake/comments").text.splitlines()
    assert [line for line in lines if line][:17] == [": OPENROUTER PROCESSING"] * 17
    after = lines.index(next(line for line in lines if line.startswith("data: {")))
    assert ":" in lines[after:]


@pytest.mark.parametrize(("switch", "newline"), [("crlf", "\r\n"), ("cr", "\r"), ("", "\n")])
def test_lines_end_as_they_are_told_to(http, switch, newline):
    text = ask(http, f"fake/{switch}").content.decode()
    assert text.endswith(f"data: [DONE]{newline * 2}")
    assert text.replace(newline, "").isprintable()


def test_events_come_in_pieces_as_small_as_a_byte(upstream):
    document = json.dumps(body("fake/bytes+alphabets")).encode()
    head = (
        f"POST /openrouter/v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {fake.KEY}\r\nContent-Length: {len(document)}\r\n\r\n"
    )
    with connected(upstream) as connection:
        connection.sendall(head.encode() + document)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    sizes = answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[::2]
    assert set(sizes) == {b"1", b"0", b""}


def test_ways_to_write_can_be_joined_to_an_answer(http):
    text = ask(http, "fake/late-error+crlf+comments").content.decode()
    assert ": OPENROUTER PROCESSING\r\n" in text
    assert "It broke" in text


def test_two_answers_at_once_are_refused(http):
    answer = ask(http, "fake/late-error+silent-drop")
    assert (answer.status_code, "at once" in answer.text) == (400, True)


# ---------------------------------------------------------------- 2: where usage stands


@pytest.mark.parametrize(
    ("switch", "place"),
    [("", "alone"), ("usage-in-last-chunk", "content"), ("late-error", "error")],
)
def test_usage_stands_in_any_of_three_places(http, switch, place):
    [chunk] = [chunk for chunk in chunks(ask(http, f"fake/{switch}")) if "usage" in chunk]
    found = "error" if "error" in chunk else "content" if chunk["choices"] else "alone"
    assert found == place


# ---------------------------------------------------------------- 3: tokens


def test_a_video_in_the_body_counts_by_its_length(http):
    told = usage(ask(http, "google/gemini-2.5-flash", data_uri()))
    assert told["prompt_tokens_details"]["video_tokens"] == 258 * 11
    assert told["prompt_tokens"] == 258 * 11 + 12


def test_a_video_by_its_address_counts_nothing(http):
    told = usage(ask(http, "google/gemini-2.5-flash", "https://example.com/v.mp4"))
    assert (told["prompt_tokens"], told["prompt_tokens_details"]["video_tokens"]) == (0, 0)
    assert told["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("jfk_slides.mp4", 11.0),
        ("portrait_rotation.mov", 7.6),
        ("spanish_vp8.webm", 15.803),
        ("no_duration_header.webm", None),
        ("not_a_video.mp4", None),
    ],
)
@pytest.mark.parametrize("step", [17, 1 << 20])
def test_the_length_of_a_clip_is_read_from_its_header(name, seconds, step):
    data, length = (DATA / name).read_bytes(), Length()
    for start in range(0, len(data), step):
        length.feed(data[start : start + step])
    assert length.seconds == seconds


# ---------------------------------------------------------------- 4, 5: errors inside a 200


def test_a_late_error_has_no_finish_reason_and_usage(http):
    last = chunks(ask(http, "fake/late-error"))[-1]
    assert last["error"]["code"] == 400
    assert last["choices"][0]["finish_reason"] is None
    assert last["usage"]["completion_tokens"] > 0


def test_an_error_in_the_middle_finishes_with_it(http):
    last = chunks(ask(http, "fake/middle-error"))[-1]
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["error"]["code"] == 502


def test_a_code_can_be_a_word(http):
    assert chunks(ask(http, "fake/word-code"))[-1]["error"]["code"] == "server_error"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("switch", "where"),
    [
        ("error-in-200", lambda told: told["error"]["code"]),
        ("error-in-choice", lambda told: told["choices"][0]["error"]["code"]),
        ("empty-choices", lambda told: 502 if told["choices"] == [] else None),
    ],
)
def test_a_200_can_carry_an_error_or_nothing(http, switch, where, stream):
    answer = ask(http, f"fake/{switch}", stream=stream)
    assert (answer.status_code, where(answer.json())) == (200, 502)


# ---------------------------------------------------------------- 6: refusals


@pytest.mark.parametrize("status", [402, 413, 429, 500, 503, 524, 529])
def test_any_status_can_be_had(http, status):
    answer = ask(http, f"fake/{status}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
    assert answer.headers.get("Retry-After") == ("7" if status in (429, 503) else None)


def test_a_503_can_say_when_there_is_room(http):
    answer = ask(http, "fake/no-capacity")
    assert answer.status_code == 503
    assert answer.json()["error"]["availability"]["retry_after"] == 7


def test_a_524_comes_after_its_delay_for_those_who_wait(upstream, http):
    assert ask(http, "fake/524+delay-0.001").status_code == 524
    with pytest.raises(httpx.ReadTimeout):
        http.post("/openrouter/v1/chat/completions", json=body("fake/524+delay-3600"), timeout=0.05)
    assert upstream.last.ended.wait(10)
    assert upstream.last.was_cut


def test_413_can_come_before_the_body_was_read(upstream):
    head = b"POST /early413/v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
    with connected(upstream) as connection:
        connection.sendall(head + b"Content-Length: 1000000\r\n\r\n{")
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_who_has_spent_it_all_gets_402(http, upstream):
    upstream.switches.credit = Decimal("0.00001")
    first, second = ask(http), ask(http)
    assert (first.status_code, second.status_code) == (200, 402)
    key = http.get("/openrouter/v1/key").json()["data"]
    assert (key["limit"], key["limit_remaining"]) == (0.00001, 0)


# ---------------------------------------------------------------- 7, 8


def test_a_silent_drop_counts_the_text_alone_and_invents(http):
    answer = ask(http, "fake/silent-drop", data_uri())
    assert usage(answer)["prompt_tokens"] == 12
    assert "sha256" not in said(answer)


def test_thinking_can_take_all_the_tokens(http):
    answer = ask(http, "fake/thoughts-only")
    assert said(answer) == ""
    finish = [choice["finish_reason"] for c in chunks(answer) for choice in c["choices"]]
    assert finish[-1] == "length"


# ---------------------------------------------------------------- 10 for Anthropic, 11


def test_vllm_takes_so_many_videos(http):
    one = ask(http, "fake/at-most-one", data_uri(), at="vllm/v1")
    two = ask(http, "fake/at-most-one", data_uri(), data_uri(), at="vllm/v1")
    assert (one.status_code, two.status_code) == (200, 400)
    assert "At most 1 video" in two.json()["error"]["message"]


def test_vllm_could_not_fetch(http):
    error = ask(http, "fake/fetch-error", "https://example.com/v.mp4", at="vllm/v1")
    assert error.status_code == 422
    assert error.json()["error"]["param"] == "image_url"


def test_vllm_had_another_shape(http):
    assert ask(http, "fake/flat-error", at="vllm/v1").json()["object"] == "error"


@pytest.mark.parametrize(
    ("at", "urls", "status"),
    [
        ("vllm/v1", ["data:video/mp4,plain"], 501),
        ("vllm/v1", ["ftp://example.com/v.mp4"], 422),
        ("sglang/v1", [data_uri(b"a", "video/jpeg") + "," + base64.b64encode(b"b").decode()], 400),
        ("vllm/v1", [data_uri(b"a", "video/jpeg") + "," + base64.b64encode(b"b").decode()], 200),
        ("ollama/v1", [data_uri()], 400),
        ("dashscope/v1", [data_uri(bytes(8 << 20))], 400),
        ("zai/v1", [data_uri(b"a")] * 3, 400),
        ("kimi/v1", ["https://example.com/v.mp4"], 400),
        ("kimi/v1", ["ms://nobody"], 404),
    ],
)
def test_each_dialect_refuses_what_the_real_one_does(http, at, urls, status):
    assert ask(http, "some-model", *urls, at=at).status_code == status


def test_kimi_takes_what_was_uploaded(http, upstream):
    told = http.post(
        "/kimi/v1/files",
        data={"purpose": "video"},
        files={"file": ("v.mp4", SLIDES, "video/mp4")},
    ).json()
    answer = ask(http, "kimi-k2.6", f"ms://{told['id']}", at="kimi/v1")
    assert hashlib.sha256(SLIDES).hexdigest() in said(answer)
    assert upstream.last.videos[0].seconds == 11.0
    assert http.delete(f"/kimi/v1/files/{told['id']}").json()["deleted"]
    assert ask(http, "kimi-k2.6", f"ms://{told['id']}", at="kimi/v1").status_code == 404


# ---------------------------------------------------------------- 12: who leaves early


def test_who_hangs_up_is_noted_and_pays_in_full(http, upstream):
    with http.stream(
        "POST", "/openrouter/v1/chat/completions", json=body("fake/slow", data_uri())
    ) as answer:
        id_ = answer.headers["X-Generation-Id"]
        next(answer.iter_bytes())
    assert upstream.last.ended.wait(10)
    told = http.get("/openrouter/v1/generation", params={"id": id_}).json()["data"]
    assert told["cancelled"] is True
    prompt, completion = PER_TOKEN
    words = upstream.last.usage["completion_tokens"]
    full = (258 * 11 + 12) * prompt + words * completion
    assert Decimal(str(told["total_cost"])) == full


def test_who_stays_has_not_cancelled(http, upstream):
    ask(http)
    told = http.get("/openrouter/v1/generation", params={"id": upstream.last.id}).json()["data"]
    assert told["cancelled"] is False


# ---------------------------------------------------------------- 13: media


def test_the_good_clip_is_a_video_of_three_seconds(http):
    answer = http.get("/media/clip.mp4")
    length = Length()
    length.feed(answer.content)
    assert (answer.headers["Content-Type"], length.seconds) == ("video/mp4", 3.0)
    assert len(answer.content) < 60_000


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("octet-stream.mp4", {"Content-Type": "application/octet-stream"}),
        ("to-private.mp4", {"Location": "http://10.0.0.1/clip.mp4"}),
        ("to-metadata.mp4", {"Location": "http://169.254.169.254/latest/meta-data/"}),
        ("moved.mp4", {"Location": "/media/clip.mp4"}),
        ("loop.mp4", {"Location": "/media/loop.mp4"}),
        ("page.mp4", {"Content-Type": "text/html"}),
    ],
)
def test_bad_media_are_bad_in_their_head(http, name, headers):
    answer = http.get(f"/media/{name}")
    assert {key: answer.headers[key] for key in headers} == headers


def test_a_picture_is_called_a_video(http):
    answer = http.get("/media/picture.mp4")
    assert answer.content == picture()
    assert answer.content.startswith(b"\xff\xd8\xff")


def test_a_clip_comes_without_its_length(http):
    answer = http.get("/media/no-length.mp4")
    assert "Content-Length" not in answer.headers
    assert answer.content == clip()


def test_a_clip_breaks_off_in_its_middle(http):
    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/media/cut.mp4")


@pytest.mark.parametrize(("name", "enough"), [("slow.mp4", 512), ("endless.mp4", 1 << 20)])
def test_media_can_be_left_in_their_middle(http, name, enough):
    seen = 0
    with http.stream("GET", f"/media/{name}") as answer:
        for piece in answer.iter_bytes():
            seen += len(piece)
            if seen >= enough:
                break
    assert seen >= enough
    assert http.get("/media/clip.mp4").status_code == 200


def test_media_can_be_missing(http):
    assert http.get("/media/status/404").status_code == 404


# ---------------------------------------------------------------- what a test asks afterwards


def test_every_request_is_told_with_hashes_and_without_keys(http):
    ask(http, "google/gemini-2.5-flash", data_uri(), "https://example.com/v.mp4")
    [told] = http.get("/fake/requests").json()["requests"]
    [sent] = told["media"]
    assert (sent["kind"], sent["sha256"]) == ("video", hashlib.sha256(SLIDES).hexdigest())
    assert (sent["bytes"], sent["seconds"]) == (len(SLIDES), 11.0)
    assert told["links"] == ["https://example.com/v.mp4"]
    assert told["document"]["messages"][0]["content"][1]["video_url"]["url"].endswith("#0")
    assert fake.KEY not in json.dumps(told)


def test_the_bill_is_what_the_answers_said_to_the_last_digit(http):
    answers = [ask(http, "google/gemini-2.5-flash", data_uri(), prompt="x" * n) for n in range(40)]
    told = [Decimal(str(usage(answer)["cost"])) for answer in answers]
    bill = http.get("/fake/bill").json()
    assert Decimal(bill["total"]) == sum(told)
    assert [Decimal(entry["cost"]) for entry in bill["entries"]] == told


@pytest.mark.parametrize(
    ("switch", "stream", "billed"),
    [
        ("", True, "0.0000161"),
        ("", False, "0.0000161"),
        ("late-error", True, "0.0000161"),
        ("null-cost", True, "0.0000161"),
        ("byok", False, "0.021"),
        ("429", True, "0"),
        ("error-in-200", False, "0"),
    ],
)
def test_what_is_billed_is_what_was_told_or_nothing(http, switch, billed, stream):
    ask(http, f"fake/{switch}", stream=stream)
    assert http.get("/fake/bill").json()["total"] == billed


def test_an_error_without_usage_costs_nothing(http):
    ask(http, "fake/middle-error")
    assert http.get("/fake/bill").json() == {"total": "0", "currency": "USD", "entries": []}


def test_what_was_received_can_be_forgotten(http):
    ask(http)
    assert http.delete("/fake/requests").status_code == 204
    assert http.get("/fake/requests").json() == {"requests": [], "others": []}
    assert http.get("/fake/bill").json()["total"] == "0"


# ---------------------------------------------------------------- and tells it before


def test_a_switch_holds_for_so_many_requests_of_any_model(http):
    http.post("/fake/switches", json={"switch": "429", "times": 2})
    assert [ask(http).status_code for _ in range(3)] == [429, 429, 200]
    assert http.get("/fake/switches").json()["switch"] == ""


def test_a_switch_holds_until_it_is_taken_back(http):
    http.post("/fake/switches", json={"switch": "middle-error"})
    assert all("error" in chunks(ask(http))[-1] for _ in range(3))
    http.post("/fake/switches", json={})
    assert "error" not in chunks(ask(http))[-1]


def test_a_model_called_after_a_switch_has_that_one(http):
    http.post("/fake/switches", json={"switch": "429"})
    assert ask(http, "fake/503").status_code == 503


@pytest.mark.parametrize(
    "wanted",
    [
        {"switch": "no-such"},
        {"switch": "late-error+silent-drop"},
        {"times": 0},
        {"delay": -1},
        {"delay": "soon"},
        {"credit": "much"},
        {"what": 1},
        ["late-error"],
    ],
)
def test_what_makes_no_sense_changes_nothing(http, wanted):
    http.post("/fake/switches", json={"switch": "503"})
    assert http.post("/fake/switches", json=wanted).status_code == 400
    assert http.get("/fake/switches").json()["switch"] == "503"


def test_a_model_called_after_no_switch_is_refused(http):
    answer = ask(http, "fake/no-such")
    assert (answer.status_code, "no-such" in answer.text) == (400, True)


ENDLESS = {"slow", "mute"}


@pytest.mark.parametrize("at", ["openrouter/v1", "vllm/v1"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_switch_answers(http, upstream, at, stream):
    names = [name for name in parts(Record())[0].switches() if name not in ENDLESS]
    for name in names:
        try:
            ask(http, f"fake/{name}", at=at, stream=stream)
        except httpx.HTTPError:
            assert name in ("cut", "cut-at-once")
        assert upstream.last.ended.wait(10)


def test_every_switch_is_known_by_its_name():
    names = [name for part in parts(Record()) for name in part.switches()]
    assert [name for name in names if not is_switch(name)] == []
    assert is_switch("524")
    assert is_switch("delay-0.5")
    assert not is_switch("no-such")


def test_every_bad_medium_answers_to_its_name(http):
    for name in FILES:
        with http.stream("GET", f"/media/{name}") as answer:
            assert answer.status_code in (200, 302)


# ---------------------------------------------------------------- bodies


def test_ordinary_strings_that_look_like_media_stay(http, upstream):
    tools = [{"type": "function", "function": {"name": "f", "x": {"data": "not base64!"}}}]
    ask(http, "google/gemini-2.5-flash", tools=tools)
    assert upstream.last.document["tools"] == tools


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
@pytest.mark.parametrize("path", ["/openrouter/v1/chat/completions", "/anthropic/v1/messages"])
def test_a_body_that_is_no_json_object_is_refused(http, path, content):
    assert http.post(path, content=content).status_code == 400


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_media_are_taken_out_wherever_the_body_is_cut(step):
    given = {"a": [{"url": data_uri(b"x" * 500)}, {"data": base64.b64encode(b"y").decode()}, "z"]}
    text, scanner = json.dumps(given).encode(), Scanner()
    for start in range(0, len(text), step):
        scanner.feed(text[start : start + step])
    assert scanner.finish() == {
        "a": [{"url": "data:video/mp4;base64,#0"}, {"data": "#1"}, "z"],
    }
    assert [blob.bytes for blob in scanner.blobs] == [500, 1]


def test_several_questions_at_once_are_all_kept(upstream):
    headers = {"Authorization": f"Bearer {fake.KEY}"}

    def many():
        for _ in range(5):
            httpx.post(
                f"{upstream.url}/openrouter/v1/chat/completions",
                json=body(stream=False),
                headers=headers,
                trust_env=False,
            )

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({received.id for received in upstream.received}) == 20
