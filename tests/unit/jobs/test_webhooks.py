"""What a webhook says, when it is tried, and what an answer means."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.jobs.webhooks import HEAD_BYTES, SCHEDULE, body, judge

ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
NOW = 1_800_000_000.0


# ---------------------------------------------------------------- the body


def test_a_success_is_told_as_fal_tells_it():
    result = '{"output":"a cat \\u2764","usage":{"cost":0.0005}}'
    assert (
        body(ID, 200, result)
        == (
            f'{{"request_id":"{ID}","gateway_request_id":"{ID}","status":"OK","payload":{result}}}'
        ).encode()
    )


def test_a_failure_has_the_status_in_words_and_the_error_body_as_payload():
    detail = {"detail": [{"loc": ["body", "prompt"], "msg": "field required", "type": "missing"}]}
    assert json.loads(body(ID, 422, json.dumps(detail))) == {
        "request_id": ID,
        "gateway_request_id": ID,
        "status": "ERROR",
        "error": "Invalid status code: 422",
        "payload": detail,
    }


@pytest.mark.parametrize("result", ["", "not json", "{", "[" * 100_000])
def test_a_result_that_is_no_json_is_left_to_the_queue(result):
    told = json.loads(body(ID, 200, result))
    assert (told["status"], told["payload"]) == ("OK", None)
    assert told["payload_error"].startswith("Response payload is not JSON serializable.")


@pytest.mark.parametrize(
    ("result", "fits"), [('"1234567"', True), ('"12345678"', False), ('"éééé"', False)]
)
def test_a_result_that_is_too_long_is_left_to_the_queue(result, fits):
    told = json.loads(body(ID, 200, result, max_payload_bytes=9))
    assert ("payload_error" in told) is not fits
    assert told["payload"] == (json.loads(result) if fits else None)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_the_payload_is_always_the_result(result):
    assert json.loads(body(ID, 200, json.dumps(result)))["payload"] == result


# ---------------------------------------------------------------- the schedule


def latest_start(schedule, chance):
    """When the last attempt begins if every earlier one runs out of time."""
    at, attempt = 0.0, 1
    while (delay := schedule.delay(attempt, None, chance)) is not None:
        at += schedule.timeout(attempt) + delay
        attempt += 1
    return attempt, at + schedule.timeout(attempt)


def test_there_are_ten_attempts_within_two_hours_whatever_happens():
    for chance in (0, 0.5, 1):
        attempts, ended = latest_start(SCHEDULE, chance)
        assert attempts == 10
        assert 3600 < ended < 2 * 3600


def test_the_first_attempt_has_15_seconds_and_the_others_have_120():
    assert [SCHEDULE.timeout(attempt) for attempt in (1, 2, 10)] == [15, 120, 120]


def test_delays_grow_and_are_jittered_by_a_tenth():
    assert [SCHEDULE.delay(n, None, 0.5) for n in range(1, 11)] == [
        5, 15, 45, 120, 300, 600, 900, 1200, 1800, None,
    ]  # fmt: skip
    assert SCHEDULE.delay(4, None, 0) == pytest.approx(108)
    assert SCHEDULE.delay(4, None, 1) == pytest.approx(132)


@pytest.mark.parametrize(
    ("attempt", "asked", "delay"),
    [(1, 60, 60), (1, 1, 5), (9, 60, 1800), (1, 86400, 1800), (1, 0, 5), (10, 60, None)],
)
def test_retry_after_can_put_off_an_attempt_but_not_hasten_it_nor_add_one(attempt, asked, delay):
    assert SCHEDULE.delay(attempt, asked, 0.5) == delay


@given(st.integers(1, 9), st.none() | st.floats(0, 1e9), st.floats(0, 1))
def test_nothing_ever_waits_longer_than_the_longest_wait(attempt, asked, chance):
    assert 0 < SCHEDULE.delay(attempt, asked, chance) <= SCHEDULE.longest_wait


# ---------------------------------------------------------------- the answer


def judged(status, headers=None, head=b""):
    return judge(status, headers or {}, head, now=NOW)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status):
    assert judged(status).is_delivered


@pytest.mark.parametrize("status", [400, 401, 404, 408, 413, 429, 500, 502, 503, 599])
def test_any_other_answer_is_tried_again(status):
    outcome = judged(status)
    assert (outcome.is_delivered, outcome.is_final) == (False, False)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 410])
def test_redirects_and_gone_are_for_good(status):
    outcome = judged(status)
    assert (outcome.is_delivered, outcome.is_final) == (False, True)


def test_a_redirect_says_where_to_without_the_query():
    outcome = judged(302, {"Location": "https://user:pw@x.test/next?token=secret"})
    assert outcome.detail == "redirects are not followed; this one leads to https://x.test/next"
    assert "secret" not in outcome.told


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 5 ", 5),
        ("0", 0),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("9" * 400, 999_999_999),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("1e3", None),
        ("\N{SUPERSCRIPT TWO}", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    assert judged(503, {"Retry-After": text}).retry_after == seconds


@given(st.binary(max_size=HEAD_BYTES))
def test_whatever_bytes_come_back_can_be_stored_as_text(head):
    detail = judged(500, head=head).detail
    assert len(detail) <= HEAD_BYTES
    assert "\0" not in detail
    detail.encode()
