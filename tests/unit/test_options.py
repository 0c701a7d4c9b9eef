"""The options beyond fal's: what each may be, and what is said when it is not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine import endpoints, options
from telecine.errors import InputError
from telecine.models import View

VIDEO = "openrouter/router/video"
EVERY = (VIDEO, "openrouter/router", "openrouter/router/vision", "openrouter/router/audio")
MINIMAL = {"prompt": "p", "model": "m", "image_urls": [], "audio_url": "a"}
SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}}


def parse(endpoint=VIDEO, **fields):
    return endpoints.parse_input(endpoint, MINIMAL | fields)


def problem(endpoint=VIDEO, **fields):
    with pytest.raises(InputError) as caught:
        parse(endpoint, **fields)
    (found,) = caught.value.problems
    return found.loc[1:], found.type


def schema(**more):
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, **more}}


# ---------------------------------------------------------------- of videos


def test_what_of_a_video_is_looked_at_is_its_view():
    asked = parse(
        fps=0.5, start="0:10", end=70, max_frames=8, resolution="low", audio=False, video_urls=["u"]
    )
    assert asked.view == View(
        fps=0.5, start=10.0, end=70.0, max_frames=8, resolution="low", audio=False
    )


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (0, 0),
        (1.5, 1.5),
        ("40", 40),
        ("40s", 40),
        (" 2.25s ", 2.25),
        ("1:30", 90),
        ("90:00", 5400),
        ("0:01:30", 90),
        ("1:02:03.5", 3723.5),
    ],
)
def test_a_time_is_a_number_or_a_text(given, seconds):
    assert parse(start=given).view.start == seconds


@pytest.mark.parametrize(
    ("given", "type_"),
    [
        ("", "time_parsing"),
        ("soon", "time_parsing"),
        ("1:60", "time_parsing"),
        ("1:60:00", "time_parsing"),
        ("1:2", "time_parsing"),
        ("-5", "time_parsing"),
        ("nan", "time_parsing"),
        ("1e3", "time_parsing"),
        ("٤٠", "time_parsing"),
        (True, "time_parsing"),
        ([], "float_type"),
        (-0.1, "greater_than_equal"),
        (math.inf, "finite_number"),
        (10**6 + 1, "less_than_equal"),
        ("9999999", "less_than_equal"),
        (10**400, "float_type"),
    ],
)
def test_what_is_no_time_is_refused_in_pydantics_words(given, type_):
    assert problem(start=given) == (("start",), type_)


@given(st.text(max_size=20) | st.floats() | st.integers() | st.booleans())
def test_a_time_is_finite_and_not_negative_or_refused(given):
    try:
        found = parse(start=given).view.start
    except InputError as error:
        assert error.problems[0].loc == ("body", "start")
    else:
        assert 0 <= found <= options.MAX_SECONDS


@given(st.integers(0, 276), st.integers(0, 59), st.integers(0, 59))
def test_a_clock_is_read_as_it_is_written(hours, minutes, seconds):
    text = f"{hours}:{minutes:02}:{seconds:02}"
    assert parse(start=text).view.start == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(("start", "end"), [(5, 5), ("0:10", 9.9), (None, 0)])
def test_an_end_comes_after_its_start(start, end):
    assert problem(start=start, end=end) == (("end",), "greater_than")


@pytest.mark.parametrize(
    ("field", "given", "type_"),
    [
        ("fps", 0, "greater_than"),
        ("fps", 24.1, "less_than_equal"),
        ("fps", math.nan, "finite_number"),
        ("max_frames", 0, "greater_than_equal"),
        ("max_frames", 1.5, "int_from_float"),
        ("resolution", "ultra", "literal_error"),
        ("audio", "loud", "bool_parsing"),
    ],
)
def test_each_option_of_a_video_has_its_bounds(field, given, type_):
    assert problem(**{field: given}) == ((field,), type_)


def test_only_videos_have_a_view():
    assert parse("openrouter/router", fps=99, start="x").view == View()


# ---------------------------------------------------------------- of every endpoint


@pytest.mark.parametrize("endpoint", EVERY)
def test_the_options_of_an_answer_are_those_of_every_endpoint(endpoint):
    asked = parse(
        endpoint,
        seed=-1,
        stop=["a", "b"],
        response_format=schema(),
        models=["x", "y"],
        provider={"order": ["z"]},
        strict=True,
        receipt=True,
    )
    assert (asked.seed, asked.stop, asked.models) == (-1, ("a", "b"), ("x", "y"))
    assert asked.response_format == schema()
    assert asked.provider == {"order": ["z"]}
    assert (asked.strict, asked.receipt) == (True, True)


@pytest.mark.parametrize("endpoint", EVERY)
def test_null_is_as_good_as_absent(endpoint):
    fields = endpoints.ENDPOINTS[endpoint].input.model_fields
    nulls = {name: None for name, field in fields.items() if not field.is_required()}
    assert parse(endpoint, **nulls) == parse(endpoint)


@pytest.mark.parametrize(
    ("given", "reasoning", "effort"),
    [
        (None, False, None),
        (False, False, None),
        (True, True, None),
        ("true", True, None),
        (0, False, None),
        ("none", False, "none"),
        ("minimal", True, "minimal"),
        ("max", True, "max"),
    ],
)
def test_reasoning_is_wanted_or_wanted_so_much(given, reasoning, effort):
    asked = parse(reasoning=given)
    assert (asked.reasoning, asked.effort) == (reasoning, effort)


@pytest.mark.parametrize(
    ("given", "type_"), [("lots", "bool_parsing"), (2, "bool_parsing"), ([], "bool_type")]
)
def test_no_reasoning_is_told_in_fals_words(given, type_):
    assert problem(reasoning=given) == (("reasoning",), type_)


def test_one_stop_is_as_good_as_a_list_of_it():
    assert parse(stop="END").stop == ("END",)


@pytest.mark.parametrize(
    ("field", "given", "loc", "type_"),
    [
        ("stop", ["a"] * 5, ("stop",), "too_long"),
        ("stop", "", ("stop", 0), "string_too_short"),
        ("stop", [1], ("stop", 0), "string_type"),
        ("stop", ["\ud800"], ("stop", 0), "string_unicode"),
        ("models", ["a"] * 9, ("models",), "too_long"),
        ("models", "a", ("models",), "list_type"),
        ("models", [""], ("models", 0), "string_too_short"),
        ("seed", 2**63, ("seed",), "less_than"),
        ("seed", "x", ("seed",), "int_parsing"),
        ("provider", [], ("provider",), "dict_type"),
        ("provider", {"only": ["x"] * 3000}, ("provider",), "object_too_large"),
    ],
)
def test_each_option_of_an_answer_has_its_bounds(field, given, loc, type_):
    assert problem(**{field: given}) == (loc, type_)


# ---------------------------------------------------------------- the form of an answer


def test_text_is_no_form_of_its_own():
    assert parse(response_format={"type": "text"}).response_format is None
    assert parse(response_format={"type": "json_object"}).response_format == {"type": "json_object"}


def test_a_schema_without_a_name_gets_one():
    asked = parse(response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}})
    assert asked.response_format["json_schema"]["name"] == "answer"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"type": "xml"},
        {"type": ["text"]},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "a"}},
        schema(schema=True),
        schema(name="no spaces"),
        schema(name=3),
        schema(strict="yes"),
        schema(schema={"$ref": "https://example.org/s.json"}),
        schema(schema={"properties": {"a": {"$ref": "other.json#/x"}}}),
        schema(schema={"allOf": [{"$dynamicRef": "//host/x"}]}),
    ],
)
def test_what_is_no_form_of_an_answer_is_refused(given):
    assert problem(response_format=given) == (("response_format",), "value_error")


def test_a_schema_may_refer_to_itself():
    wanted = {"$defs": {"a": {"type": "string"}}, "properties": {"b": {"$ref": "#/$defs/a"}}}
    assert parse(response_format=schema(schema=wanted)).response_format is not None


def test_a_property_may_be_called_like_a_reference():
    wanted = {"type": "object", "properties": {"$ref": {"type": "string"}}}
    assert parse(response_format=schema(schema=wanted)).response_format is not None


def test_a_schema_that_is_too_deep_or_too_large_is_refused_unread():
    deep = {}
    for _ in range(40):
        deep = {"items": deep}
    huge = {"anyOf": [{}] * 3000}
    for each in (schema(schema=deep), schema(schema=huge), schema(description=deep)):
        assert problem(response_format=each) == (("response_format",), "object_too_large")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["type", "json_schema", "schema", "name", "$ref", "x"]), inner
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_taken_as_a_form_or_refused(given):
    for field in ("response_format", "provider", "stop", "models", "reasoning"):
        try:
            parse(**{field: given})
        except InputError as error:
            assert error.problems[0].loc[1] == field


# ---------------------------------------------------------------- OpenAI's bodies


CHAT = "openrouter/router/openai/v1/chat/completions"
RESPONSES = "openrouter/router/openai/v1/responses"
TALK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def test_the_options_of_a_chat_are_known_and_go_on_as_they_came():
    body = TALK | {
        "seed": 3,
        "stop": "END",
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "provider": {"order": ["x"]},
    }
    asked = endpoints.parse_input(CHAT, body)
    assert (asked.seed, asked.stop, asked.effort) == (3, ("END",), "low")
    assert (asked.response_format, asked.provider) == ({"type": "json_object"}, {"order": ["x"]})
    assert asked.conversation.body is body
    assert asked.unsaid == ()


def test_fallbacks_of_a_chat_are_tried_here_and_not_by_whoever_is_asked():
    asked = endpoints.parse_input(CHAT, TALK | {"models": ["vllm/x"]})
    assert asked.models == ("vllm/x",)
    assert "models" not in asked.conversation.body


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "x"), ("stop", ["a"] * 9), ("response_format", {"type": "grammar"})],
)
def test_an_option_of_a_chat_that_means_nothing_here_is_the_providers_to_judge(name, value):
    asked = endpoints.parse_input(CHAT, TALK | {name: value})
    assert asked.unsaid == (name,)
    assert asked.conversation.body[name] == value


def test_the_form_of_a_response_is_that_of_a_chat_in_other_words():
    form = {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}
    body = {"model": "m", "input": "Hi", "text": {"format": form}, "reasoning": {"effort": "high"}}
    asked = endpoints.parse_input(RESPONSES, body)
    assert asked.response_format == schema(strict=True)
    assert (asked.effort, asked.reasoning, asked.unsaid) == ("high", True, ())


def test_how_wordy_a_response_is_can_not_be_said_plainly():
    body = {"model": "m", "input": "Hi", "text": {"verbosity": "low"}}
    assert endpoints.parse_input(RESPONSES, body).unsaid == ("text",)


def test_fallbacks_in_openais_words_are_judged_as_ours():
    with pytest.raises(InputError) as caught:
        endpoints.parse_input(CHAT, TALK | {"models": "a"})
    assert caught.value.problems[0].loc == ("body", "models")
