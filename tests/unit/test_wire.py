import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine import endpoints, wire
from telecine.errors import (
    AuthError,
    BadRequest,
    Cancelled,
    Deadline,
    Forbidden,
    InputError,
    LimitReached,
    NotFound,
    PayloadTooLarge,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    SourceUnavailable,
    UnsupportedMedia,
)
from telecine.models import (
    Caller,
    Job,
    LogLine,
    MediaName,
    Outcome,
    Receipt,
    Request,
    RouterRequest,
    Usage,
)

EP = "openrouter/router/video"
MINIMAL = {"prompt": "p", "model": "m"}


def parse(**fields):
    return endpoints.parse_input(EP, MINIMAL | fields)


def entries(document):
    """The entries of the 422 that `document` gets."""
    with pytest.raises(InputError) as caught:
        endpoints.parse_input(EP, document)
    return json.loads(wire.failure(caught.value, request_id=None).body)["detail"]


# ---------------------------------------------------------------- input


def test_prompt_and_model_are_enough():
    assert endpoints.parse_input(EP, MINIMAL) == RouterRequest(prompt="p", model="m")


def test_the_enterprise_endpoint_takes_the_same():
    assert endpoints.parse_input(f"{EP}/enterprise", MINIMAL) == parse()


def test_videos_keep_their_order_and_place():
    assert parse(video_urls=["a", "b"]).media == (
        MediaName("a", ("body", "video_urls", 0)),
        MediaName("b", ("body", "video_urls", 1), index=1),
    )


def test_video_url_alone_is_a_list_of_one():
    assert parse(video_url="a").media == (MediaName("a", ("body", "video_url")),)


@pytest.mark.parametrize("empty", [[], None])
def test_an_empty_list_is_like_none(empty):
    assert parse(video_urls=empty).media == ()
    assert len(parse(video_urls=empty, video_url="a").media) == 1


@pytest.mark.parametrize(
    "field",
    [
        "video_urls",
        "video_url",
        "system_prompt",
        "reasoning",
        "temperature",
        "max_tokens",
        "strict",
    ],
)
def test_null_is_good_for_whatever_is_optional(field):
    assert parse(**{field: None}).prompt == "p"


def test_unknown_fields_are_ignored():
    assert parse(web_search_options={"a": 1}, enable_web_search=True) == parse()


def test_telecines_own_options_are_taken():
    asked = parse(receipt=True, strict=True)
    assert (asked.receipt, asked.strict) == (True, True)


@pytest.mark.parametrize(
    ("fields", "loc", "type", "ctx"),
    [
        ({"temperature": 3}, ["temperature"], "less_than_equal", {"le": 2}),
        ({"temperature": -1}, ["temperature"], "greater_than_equal", {"ge": 0}),
        ({"temperature": "hot"}, ["temperature"], "float_parsing", None),
        ({"temperature": float("nan")}, ["temperature"], "finite_number", None),
        ({"max_tokens": 0}, ["max_tokens"], "greater_than_equal", {"ge": 1}),
        ({"max_tokens": 1.5}, ["max_tokens"], "int_from_float", None),
        ({"max_tokens": "x"}, ["max_tokens"], "int_parsing", None),
        ({"max_tokens": 10**30}, ["max_tokens"], "less_than_equal", {"le": 2**63 - 1}),
        ({"video_urls": "x"}, ["video_urls"], "list_type", None),
        ({"video_urls": [1]}, ["video_urls", 0], "string_type", None),
        ({"video_urls": ["a", None]}, ["video_urls", 1], "string_type", None),
        ({"video_urls": ["a"] * 101}, ["video_urls"], "sequence_too_long", {"max_length": 100}),
        ({"video_url": 1}, ["video_url"], "string_type", None),
        ({"prompt": 1}, ["prompt"], "string_type", None),
        ({"prompt": None}, ["prompt"], "string_type", None),
        ({"prompt": "\ud800"}, ["prompt"], "string_unicode", None),
        ({"reasoning": "x"}, ["reasoning"], "bool_parsing", None),
        ({"video_url": "a", "video_urls": ["b"]}, [], "value_error", None),
    ],
)
def test_what_is_wrong_is_told_in_pydantics_words(fields, loc, type, ctx):
    (entry,) = entries(MINIMAL | fields)
    assert (entry["loc"], entry["type"], entry.get("ctx")) == (["body", *loc], type, ctx)
    assert entry["url"] == f"https://docs.fal.ai/errors#{type}"


@pytest.mark.parametrize("field", ["prompt", "model"])
def test_a_missing_field_is_told_with_what_was_sent(field):
    sent = {name: value for name, value in MINIMAL.items() if name != field}
    assert entries(sent) == [
        {
            "loc": ["body", field],
            "msg": "Field required",
            "type": "missing",
            "url": "https://docs.fal.ai/errors#missing",
            "input": sent,
        }
    ]


@pytest.mark.parametrize("document", [None, [], "text", 5, True, [["prompt", "p"]]])
def test_a_body_that_is_no_object_is_told_so(document):
    (entry,) = entries(document)
    assert (entry["loc"], entry["type"]) == (["body"], "model_attributes_type")


def test_both_video_fields_are_named():
    (entry,) = entries(MINIMAL | {"video_url": "a", "video_urls": ["b"]})
    assert "video_url" in entry["msg"]
    assert "video_urls" in entry["msg"]


def test_what_an_error_repeats_is_short():
    (entry,) = entries(MINIMAL | {"video_urls": "data:video/mp4;base64," + "A" * 10**6})
    assert len(entry["input"]) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from([*endpoints.ENDPOINTS[EP].order, "video_url", "x"]), JSON))
def test_any_document_is_understood_or_refused_in_valid_ascii_json(document):
    try:
        endpoints.parse_input(EP, document)
    except InputError as error:
        body = wire.failure(error, request_id=None).body
        assert body.isascii()
        assert json.loads(body, parse_constant=pytest.fail)["detail"]


# ---------------------------------------------------------------- result


def request(**fields):
    return Request(id="r1", endpoint=EP, mode="run", caller=Caller("k"), document=MINIMAL | fields)


USAGE = Usage(
    prompt_tokens=10,
    completion_tokens=2,
    total_tokens=12,
    cost=Decimal("0.0005"),
    cost_source="billed",
)


def test_a_result_is_exactly_fals():
    result = wire.result(
        request(),
        Outcome(output="hi", reasoning="hm", usage=USAGE, receipt=Receipt(lambda: {"a": 1})),
    )
    assert result.status == 200
    assert result.body == (
        '{"output":"hi","usage":{"prompt_tokens":10,"completion_tokens":2,'
        '"total_tokens":12,"cost":0.0005}}'
    )
    assert result.headers == {
        "content-type": "application/json",
        "x-fal-request-id": "r1",
        "x-fal-billable-units": "1",
        "x-telecine-cost-source": "billed",
    }


def test_an_unknown_cost_is_the_number_0_and_says_so():
    result = wire.result(request(), Outcome(output="hi", usage=Usage()))
    assert json.loads(result.body)["usage"]["cost"] == 0
    assert result.headers["x-telecine-cost-source"] == "unknown"


def test_reasoning_comes_when_asked_for_and_given():
    asked = json.loads(wire.result(request(reasoning=True), Outcome(reasoning="hm")).body)
    assert asked["reasoning"] == "hm"
    assert "reasoning" not in json.loads(wire.result(request(reasoning=True), Outcome()).body)


def test_the_receipt_comes_when_asked_for():
    outcome = Outcome(receipt=Receipt(lambda: {"videos": []}))
    assert json.loads(wire.result(request(receipt=True), outcome).body)["receipt"] == {"videos": []}


@pytest.mark.parametrize("text", ["né 🎬 漢", "\ud83c", "\u2028</script>\x00"])
def test_whatever_a_model_says_is_ascii_and_survives(text):
    body = wire.result(request(), Outcome(output=text)).body
    assert body.isascii()
    assert json.loads(body)["output"] == text


def test_a_figure_that_json_does_not_know_is_null():
    outcome = Outcome(receipt=Receipt(lambda: {"fps": [float("nan")]}))
    body = wire.result(request(receipt=True), outcome).body
    assert json.loads(body)["receipt"] == {"fps": [None]}


def test_stream_events_have_fals_shape():
    assert wire.partial_event("a") == '{"output":"a","partial":true,"error":null}'
    final = json.loads(
        wire.final_event(request(), Outcome(output="ab", usage=USAGE, reasoning="x"))
    )
    assert final == {
        "output": "ab",
        "partial": False,
        "error": None,
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cost": 0.0005},
    }


def test_a_broken_stream_ends_with_the_text_so_far_and_the_reason():
    final = json.loads(wire.final_event(request(), Outcome(output="ab"), ProviderFailed("cut off")))
    assert final == {"output": "ab", "partial": False, "error": "cut off"}


def test_a_bug_in_a_stream_tells_nothing():
    final = json.loads(wire.final_event(request(), Outcome(), RuntimeError("secret")))
    assert final["error"] == "Internal Server Error"


# ---------------------------------------------------------------- status

URLS = wire.Urls("https://q/r", "https://q/r/status", "https://q/r/cancel")
AT = datetime(2026, 1, 28, 2, 51, 51, 871000, tzinfo=UTC)


def job(state, **fields):
    return Job(
        id="r1",
        endpoint=EP,
        mode="queue",
        key_id="k",
        state=state,
        attempt=1,
        created_at=AT,
        **fields,
    )


def test_a_waiting_job_has_a_position():
    assert wire.status(job("queued", queue_position=2), URLS, logs=False) == {
        "status": "IN_QUEUE",
        "request_id": "r1",
        "queue_position": 2,
        "response_url": "https://q/r",
        "status_url": "https://q/r/status",
        "cancel_url": "https://q/r/cancel",
        "logs": None,
        "metrics": {},
    }


def test_logs_are_null_unless_asked_for_and_then_a_list():
    assert wire.status(job("running"), URLS, logs=False)["logs"] is None
    assert wire.status(job("running"), URLS, logs=True)["logs"] == []


def test_a_log_entry_suits_every_reader():
    line = LogLine(message="downloading", level="INFO", at=AT)
    assert wire.status(job("running", logs=[line]), URLS, logs=True)["logs"] == [
        {
            "message": "downloading",
            "level": "INFO",
            "source": "USER",
            "timestamp": "2026-01-28T02:51:51.871000Z",
            "labels": {"level": "INFO", "source": "USER"},
        }
    ]


def test_only_a_waiting_job_has_a_position():
    assert "queue_position" not in wire.status(job("running"), URLS, logs=False)


def test_a_finished_job_has_its_inference_time():
    told = wire.status(job("succeeded", inference_seconds=3.7), URLS, logs=False)
    assert (told["status"], told["metrics"]) == ("COMPLETED", {"inference_time": 3.7})
    assert "error" not in told


@pytest.mark.parametrize(
    ("job", "error", "error_type"),
    [
        (job("failed", error="x: bad", error_type="less_than_equal"), "x: bad", "bad_request"),
        (job("failed"), "Internal Server Error", "internal_error"),
        (job("failed", error="late", error_type="request_timeout"), "late", "request_timeout"),
        (
            job("failed", error="cut", error_type="downstream_service_error"),
            "cut",
            "runner_server_error",
        ),
        (job("cancelled"), "Request was cancelled", "client_cancelled"),
    ],
)
def test_a_job_that_ended_badly_is_completed_with_an_error(job, error, error_type):
    told = wire.status(job, URLS, logs=False)
    assert told["status"] == "COMPLETED"
    assert (told["error"], told["error_type"]) == (error, error_type)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "status", "body", "headers"),
    [
        (AuthError("no"), 401, {"detail": "no"}, {"x-fal-needs-retry": "false"}),
        (Forbidden("no"), 403, {"detail": "no"}, {}),
        (NotFound("no"), 404, {"detail": "no"}, {"x-fal-billable-units": "0"}),
        (
            NotFound("no", type="request_not_found"),
            404,
            {"detail": "no", "status": "NOT_FOUND"},
            {},
        ),
        (
            BadRequest("Request is still in progress"),
            400,
            {"detail": "Request is still in progress"},
            {},
        ),
        (PayloadTooLarge("big"), 413, {"detail": "big"}, {}),
        (
            LimitReached("full", retry_after_seconds=1.2, data={"limit": 2}),
            429,
            {"detail": "full", "type": "concurrent_requests_limit", "data": {"limit": 2}},
            {"x-fal-needs-retry": "1", "retry-after": "2"},
        ),
        (
            LimitReached("deep", type="queue_full"),
            429,
            {"detail": "deep", "type": "queue_full"},
            {},
        ),
        (
            Cancelled(),
            499,
            {"detail": "Request was cancelled", "error_type": "client_cancelled"},
            {"x-fal-error-type": "client_cancelled"},
        ),
        (
            Deadline("Request timed out", by_user=True),
            504,
            {"detail": "Request timed out", "error_type": "request_timeout"},
            {"x-fal-error-type": "request_timeout", "x-fal-request-timeout-type": "user"},
        ),
        (RuntimeError("secret"), 500, {"detail": "Internal Server Error"}, {}),
    ],
)
def test_every_error_has_its_answer(error, status, body, headers):
    result = wire.failure(error, request_id="r1")
    assert result.status == status
    assert json.loads(result.body) == body
    assert result.headers["content-type"] == "application/json"
    assert result.headers["x-fal-request-id"] == "r1"
    assert headers.items() <= result.headers.items()


def test_a_deadline_that_nobody_asked_for_may_be_tried_again():
    result = wire.failure(Deadline("late"), request_id=None)
    assert "x-fal-request-timeout-type" not in result.headers


@pytest.mark.parametrize(
    ("error", "status", "loc", "type"),
    [
        (SourceUnavailable("x", loc=("body", "video_urls", 0)), 422, ["body", "video_urls", 0], "file_download_error"),
        (UnsupportedMedia("x", loc=("body", "video_url")), 422, ["body", "video_url"], "unsupported_video_format"),
        (ProviderRejected("x", loc=("body", "model")), 422, ["body", "model"], "value_error"),
        (ProviderRejected("x", type="content_policy_violation"), 422, ["body"], "content_policy_violation"),
        (ProviderUnavailable("x"), 503, ["body"], "downstream_service_unavailable"),
        (ProviderFailed("x"), 500, ["body"], "downstream_service_error"),
        (Deadline("x", type="generation_timeout"), 504, ["body"], "generation_timeout"),
    ],
)  # fmt: skip
def test_model_errors_are_lists(error, status, loc, type):
    result = wire.failure(error, request_id=None)
    (entry,) = json.loads(result.body)["detail"]
    assert (result.status, entry["loc"], entry["msg"], entry["type"]) == (status, loc, "x", type)


def test_only_an_unbilled_failure_asks_for_another_try():
    again = wire.failure(ProviderUnavailable("x", retry_after_seconds=30), request_id=None)
    never = wire.failure(ProviderFailed("x"), request_id=None)
    assert (again.headers["x-fal-needs-retry"], again.headers["retry-after"]) == ("true", "30")
    assert never.headers["x-fal-needs-retry"] == "false"


# ---------------------------------------------------------------- endpoints


def test_an_unknown_path_of_a_known_application_is_named():
    with pytest.raises(NotFound, match="Path /nope not found"):
        endpoints.endpoint("openrouter/router/nope")


def test_an_unknown_application_is_named():
    with pytest.raises(NotFound, match='Application "flux" not found'):
        endpoints.endpoint("fal-ai/flux/dev")


def test_schemas_are_named_as_fal_names_them():
    names = [endpoint.schema_name for endpoint in endpoints.ENDPOINTS.values()]
    assert names == [
        "RouterVideo",
        "RouterVideoEnterprise",
        "Router",
        "RouterEnterprise",
        "RouterVision",
        "RouterVisionEnterprise",
        "RouterAudio",
        "RouterAudioEnterprise",
        "RouterOpenaiV1ChatCompletions",
        "RouterOpenaiV1Responses",
        "RouterOpenaiV1Embeddings",
    ]
