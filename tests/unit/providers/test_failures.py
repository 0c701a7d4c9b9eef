from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.errors import (
    FormRefused,
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


CLIP = LinkPart("https://example.org/a.mp4", ("body", "video_urls", 0))
WITH_CLIP = Call(request_id="r", model="m", prompt="p", parts=(CLIP,))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "At most 1 video(s) may be provided in one prompt."),
        (400, "At most 0 video(s) may be provided in one prompt. Set `--limit-mm-per-prompt`"),
        (422, "Failed to fetch media from URL: HTTP 404 error"),
        (422, "The URL must be either a HTTP, data or file URL."),
        (422, "The URL must be from one of the allowed domains: a. Input URL domain: b"),
        (501, "Only base64 data URLs are supported for now."),
        (400, "Could not decode video: Incorrect padding"),
        (400, "cannot identify image file <_io.BytesIO object at 0x7f>"),
        (400, "Unknown part type: video_url"),
        (400, "unsupported content[].type"),
        (400, "video input is not supported - hint: you may need to provide the mmproj"),
        (400, "Failed to load image or audio file"),
        (400, "Invalid value: 'video_url'. Supported values are: 'text' and 'image_url'."),
        (400, "Unsupported MIME type: video/x-matroska"),
        (400, "This model does not support video input"),
        (400, "This model does not support image inputs."),
        (400, "m is not a multimodal model"),
        (404, "No endpoints found that support image input"),
        (400, "File is not a PDF"),
        (415, ""),
        (413, "Payload Too Large"),
    ],
)
def test_a_form_that_is_not_taken_may_be_tried_in_another(status, said):
    found = error(read({"error": {"message": said}}, status=status), WITH_CLIP, provider="p")
    assert type(found) is FormRefused
    assert (found.status, found.upstream_status, found.loc) == (422, status, CLIP.loc)
    assert said in found.message


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "temperature must be at most 2"),
        (400, "stop: at most 4 strings"),
        (400, "Provider returned error"),
        (404, "The model `m` does not exist"),
        (404, "Failed to load model m"),
        (404, "No endpoints found that can handle the requested parameters."),
        (422, "response_format: unknown type"),
    ],
)
def test_other_refusals_are_not_about_the_form(status, said):
    found = error(parse(said, status=status, retry_after=None), WITH_CLIP, provider="p")
    assert type(found) is ProviderRejected


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_without_media_no_form_is_refused(status):
    failure = parse("Unknown part type: video_url", status=status, retry_after=None)
    assert not isinstance(error(failure, CALL, provider="p"), FormRefused)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_form_refused_in_the_middle_of_an_answer_may_have_been_billed(status):
    failure = parse("Could not decode video", status=status, retry_after=None)
    assert type(error(failure, WITH_CLIP, provider="p", has_begun=True)) is ProviderFailed


def test_words_of_the_context_are_not_words_of_the_form():
    said = "The decoder prompt (length 9) is longer than the maximum model length of 8; the video"
    found = error(parse(said, status=400, retry_after=None), WITH_CLIP, provider="p")
    assert type(found) is TooLarge


@pytest.mark.parametrize("param", ["response_format", "response_format.type", "seed", "stop[0]"])
def test_the_field_that_is_named_is_where_the_error_stands(param):
    body = {"error": {"message": "no", "param": param}}
    assert told(body).loc == ("body", param.partition(".")[0].partition("[")[0])
