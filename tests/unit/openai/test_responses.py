"""The events of the Responses API."""

from decimal import Decimal

import pytest

from telecine.models import Conversation, Delta, Usage
from telecine.openai import errors, responses

USAGE = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5, cost=Decimal("0.25"))


def writer(**body):
    talk = Conversation(api="responses", body={"model": "m", **body}, is_streamed=True)
    return responses.Writer(talk, request_id="r", model="m", created=7)


def written(*deltas, reason="stop", **body):
    made = writer(**body)
    events = [event for delta in deltas for event in made.delta(delta)]
    return events + made.end(USAGE, reason)


def whole(events):
    response = responses.Response()
    for event in events:
        response.add(event)
    return response.whole()


def test_text_is_a_message_with_its_events_in_order():
    events = written(Delta("Hel"), Delta("lo"))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    answer = whole(events)
    assert answer["status"] == "completed"
    [item] = answer["output"]
    assert item["content"][0]["text"] == "Hello"
    assert answer["usage"]["input_tokens"] == 3
    assert answer["usage"]["cost"] == 0.25


def test_reasoning_is_an_item_before_the_message():
    answer = whole(written(Delta("", "Hm"), Delta("Hi", "m"), Delta("!")))
    assert [(item["type"], item["content"][0]["text"]) for item in answer["output"]] == [
        ("reasoning", "Hmm"),
        ("message", "Hi!"),
    ]
    assert [item["status"] for item in answer["output"]] == ["completed", "completed"]


def test_an_answer_that_was_cut_is_incomplete_and_says_why():
    events = written(Delta("Hi"), reason="length")
    assert events[-1]["type"] == "response.incomplete"
    assert whole(events)["incomplete_details"] == {"reason": "max_output_tokens"}


def test_an_answer_without_words_is_complete_and_empty():
    answer = whole(written())
    assert (answer["status"], answer["output"]) == ("completed", [])


def test_a_response_repeats_what_it_was_asked_with():
    answer = whole(written(Delta("Hi"), instructions="Be brief.", metadata={"a": "b"}))
    assert (answer["instructions"], answer["metadata"]) == ("Be brief.", {"a": "b"})
    assert (answer["tool_choice"], answer["tools"]) == ("auto", [])


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_the_last_event_has_the_answer(kind):
    events = [{"type": "response.created", "response": {"id": "a"}}, {"type": kind}]
    events.append({"type": kind, "response": {"id": "b"}})
    assert whole(events) == {"id": "b"}


def test_an_answer_that_came_whole_stays_as_it_is():
    assert whole([{"object": "response", "id": "a"}]) == {"object": "response", "id": "a"}


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (
            {"detail": "invalid key credentials"},
            401,
            ("invalid key credentials", "authentication_error", None, None),
        ),
        (
            {
                "detail": [
                    {"loc": ["body", "messages", 0, "content"], "msg": "No", "type": "missing"}
                ]
            },
            422,
            ("messages.0.content: No", "invalid_request_error", "messages.0.content", "missing"),
        ),
        (
            {
                "detail": [
                    {"loc": ["body"], "msg": "Busy", "type": "downstream_service_unavailable"}
                ]
            },
            503,
            ("Busy", "api_error", None, "downstream_service_unavailable"),
        ),
        (
            {"detail": "Slow down", "type": "concurrent_requests_limit"},
            429,
            ("Slow down", "rate_limit_error", None, "concurrent_requests_limit"),
        ),
        (
            {"detail": "Internal Server Error"},
            500,
            ("Internal Server Error", "api_error", None, None),
        ),
    ],
)
def test_an_error_is_told_in_openais_shape(body, status, expected):
    told = errors.told(body, status)
    assert (told["message"], told["type"], told["param"], told["code"]) == expected
