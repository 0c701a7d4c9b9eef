import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.acl import Acl, Rule
from telecine.api.lifecycle import parsed
from telecine.api.tokens import _alias
from telecine.api.uploads import _content_type, _etags
from telecine.errors import BadRequest

DEFAULT = 604_800.0


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({"expiration_duration_seconds": 3600}, 3600),
        ({"expiration_duration_seconds": 0.5}, 0.5),
        ({"expiration_duration_seconds": None}, None),
        ({"expiration_duration_seconds": 0}, None),
        ({}, DEFAULT),
        ({"something_new": 1}, DEFAULT),
        ({"initial_acl": {"default": "allow"}}, DEFAULT),
        ({"initial_acl": {"rules": [{"user": "u", "decision": "allow"}]}}, DEFAULT),
    ],
)
def test_the_lifecycle_header_says_how_long_a_file_lives(asked, seconds):
    assert parsed(json.dumps(asked), DEFAULT).expires_seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3600",
        "[]",
        "{",
        '{"expiration_duration_seconds": -1}',
        '{"expiration_duration_seconds": true}',
        '{"expiration_duration_seconds": false}',
        '{"expiration_duration_seconds": "1h"}',
        '{"expiration_duration_seconds": NaN}',
        '{"expiration_duration_seconds": 1e400}',
        "[" * 100_000,
    ],
)
def test_a_lifecycle_that_makes_no_sense_is_refused(text):
    with pytest.raises(BadRequest, match="X-Fal-Object-Lifecycle"):
        parsed(text, DEFAULT)


@pytest.mark.parametrize(
    ("asked", "acl"),
    [
        (None, None),
        ({}, Acl("allow")),
        ({"default": "forbid"}, Acl("forbid")),
        ({"default": "hide", "rules": None}, Acl("hide")),
        (
            {"rules": [{"user": "u", "decision": "hide", "key_ids": ["x"]}]},
            Acl("allow", (Rule("u", "hide"),)),
        ),
    ],
)
def test_the_lifecycle_header_says_who_may_read_a_file(asked, acl):
    assert parsed(json.dumps({"initial_acl": asked}), DEFAULT).acl == acl


@pytest.mark.parametrize(
    "acl",
    [
        {"default": "private"},
        {"default": ["forbid"]},
        {"rules": [{"user": "u"}]},
        {"rules": [{"decision": "hide"}]},
        {"rules": [{"user": "", "decision": "hide"}]},
        {"rules": [{"user": "u", "decision": "hide"}] * 101},
        {"rules": ["u"]},
        {"rules": "u"},
        "forbid",
        1,
        False,
    ],
)
def test_access_rules_that_make_no_sense_are_refused_rather_than_the_file_made_public(acl):
    with pytest.raises(BadRequest, match="X-Fal-Object-Lifecycle"):
        parsed(json.dumps({"initial_acl": acl}), DEFAULT)


@given(
    st.text(max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["expiration_duration_seconds", "initial_acl", "default", "rules"]),
                x,
            )
        ),
    ).map(json.dumps)
)
def test_every_lifecycle_is_understood_or_refused(text):
    try:
        seconds = parsed(text, DEFAULT).expires_seconds
    except BadRequest:
        return
    assert seconds is None or seconds > 0


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        ("video/mp4", "video/mp4"),
        ("text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("video/mp4\r\nx: y", "application/octet-stream"),
        ("video", "application/octet-stream"),
        ("", "application/octet-stream"),
        (None, "application/octet-stream"),
        ("vidéo/mp4", "application/octet-stream"),
    ],
)
def test_only_a_proper_content_type_is_kept(given_type, kept):
    assert _content_type(given_type) == kept


def test_the_list_of_parts_may_come_in_any_order_and_with_quoted_etags():
    parts = [
        {"partNumber": 2, "etag": '"b"'},
        {"partNumber": 1, "etag": 'W/"a"'},
        {"partNumber": 2, "etag": "b"},
    ]
    assert _etags({"parts": parts}) == {1: "a", 2: "b"}


@pytest.mark.parametrize(
    "parts",
    [
        ["x"],
        [None],
        [{}],
        [{"partNumber": 1}],
        [{"partNumber": "1", "etag": "a"}],
        [{"partNumber": True, "etag": "a"}],
        [{"partNumber": 1, "etag": None}],
        [{"partNumber": 1, "etag": "a"}, {"partNumber": 1, "etag": "b"}],
    ],
)
def test_a_list_of_parts_that_makes_no_sense_is_refused(parts):
    with pytest.raises(BadRequest):
        _etags({"parts": parts})


@pytest.mark.parametrize(
    ("app", "alias"),
    [
        ("router", "router"),
        ("openrouter/router", "router"),
        ("openrouter/router/video", "router"),
        ("workflows/me/my-flow", "my-flow"),
        ("comfy/me/flow/sub", "flow"),
        ("", ""),
    ],
)
def test_a_token_is_for_an_alias(app, alias):
    assert _alias(app) == alias
