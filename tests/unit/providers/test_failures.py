from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.errors import (
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    TelecineError,
    TooLarge,
)
from telecine.models import Call, LinkPart
from telecine.providers.failures import error, parse, read, scrubbed

CALL = Call(request_id="r", model="m", prompt="p")
KEY = "sk-or-v1-0123456789"


def told(body, status=400, **more):
    return error(read(body, status=status), CALL, provider="p", **more)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "it broke", "code": 400}},
        {"error": "it broke"},
        {"object": "error", "message": "it broke", "type": "BadRequestError", "code": 400},
        {"detail": "it broke"},
        {"message": "it broke"},
        [{"error": {"message": "it broke"}}],
        "it broke",
        {"error": {"message": "", "metadata": {"raw": "it broke"}}},
        {"error": {"metadata": {"raw": {"error": "it broke"}}}},
        {"detail": [{"loc": ["body"], "msg": "it broke"}]},
    ],
)
def test_the_upstreams_words_are_found_in_every_shape(body):
    assert "it broke" in told(body).message


@given(st.text(max_size=300), st.integers(300, 599))
def test_no_body_of_an_error_is_a_bug_of_ours(text, status):
    failure = parse(text, status=status, retry_after=text)
    assert isinstance(error(failure, CALL, provider="p"), TelecineError)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (429, ProviderUnavailable),
        ("429", ProviderUnavailable),
        ("rate_limit_exceeded", ProviderUnavailable),
        ("server_error", ProviderFailed),
        (None, ProviderFailed),
        (7, ProviderFailed),
        ("model_not_found", ProviderRejected),
    ],
)
def test_inside_a_200_the_code_is_the_status(code, expected):
    assert type(told({"error": {"code": code, "message": "m"}}, status=200)) is expected


@pytest.mark.parametrize(
    "error_",
    [
        {"code": 400, "metadata": {"error_type": "context_length_exceeded"}},
        {"code": 400, "type": "exceed_context_size_error", "n_ctx": 4096},
        {"code": 400, "message": "The prompt is longer than the maximum model length of 4096."},
    ],
)
def test_more_than_the_context_is_too_large(error_):
    call = Call(
        request_id="r",
        model="m",
        prompt="p",
        parts=(LinkPart("https://youtu.be/x", ("body", "video_urls", 0)),),
    )
    found = error(read({"error": error_}), call, provider="p")
    assert type(found) is TooLarge
    assert found.problems[0].loc == ("body", "video_urls", 0)


def test_a_key_that_may_not_is_the_operators_business():
    body = {"error": {"message": "secret words", "metadata": {"error_type": "permission_denied"}}}
    found = told(body, status=403)
    assert type(found) is ProviderFailed
    assert "secret words" not in found.message


def test_a_field_that_the_upstream_names_is_pointed_at():
    found = told({"error": {"message": "too hot", "param": "temperature"}})
    assert isinstance(found, ProviderRejected)
    assert found.loc == ("body", "temperature")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("1e12", 86400),
        ("soon", None),
        ("nan", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_seconds(header, seconds):
    assert parse("", status=429, retry_after=header).retry_after_seconds == seconds


def test_retry_after_may_be_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    seconds = parse("", status=503, retry_after=date).retry_after_seconds
    assert seconds is not None
    assert 3000 < seconds <= 3600


def test_openrouters_own_advice_on_when_to_come_back_wins():
    body = {"error": {"code": 503, "message": "m", "availability": {"retry_after": 12}}}
    assert read(body, status=503, retry_after="7").retry_after_seconds == 12


@pytest.mark.parametrize(
    "text",
    [
        f"bad key {KEY}",
        f"bad key {KEY[:14]}",
        "Incorrect API key provided: sk-abc*****6789",
        f"header 'Authorization: Bearer {KEY}'",
        "key AIzaSyD0123456789abcdef",
    ],
)
def test_no_key_is_ever_repeated(text):
    found = scrubbed(text, (KEY,))
    assert "sk-" not in found
    assert "AIza" not in found
    assert "[key]" in found


def test_a_video_that_is_quoted_back_is_left_out():
    assert scrubbed("bad url data:video/mp4;base64,AAAA/BBB+== end") == (
        "bad url data:video/mp4;base64,... end"
    )


def test_words_are_cut_after_the_keys_are_out():
    assert KEY[:10] not in scrubbed("x" * 590 + KEY, (KEY,))
    assert len(scrubbed("x" * 10_000)) == 600
