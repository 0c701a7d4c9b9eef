"""The family: what each endpoint takes and publishes. The video endpoint is in test_wire."""

import json

import pytest

from telecine import endpoints, wire
from telecine.api.addressing import Address
from telecine.api.documents import queue_document
from telecine.errors import InputError
from telecine.models import Caller, MediaName, Outcome, Request, RouterRequest, Usage

TEXT, VISION, AUDIO = (f"openrouter/router{tail}" for tail in ("", "/vision", "/audio"))
BASE = "openrouter/router/openai/v1"
MINIMAL = {"prompt": "p", "model": "m"}
AT = Address("https://x", "https://x/queue", "https://x/rest", "https://x/files")


def parse(endpoint, **fields):
    return endpoints.parse_input(endpoint, MINIMAL | fields)


def problems(endpoint, document):
    with pytest.raises(InputError) as caught:
        endpoints.parse_input(endpoint, document)
    return [(p.loc, p.type) for p in caught.value.problems]


# ---------------------------------------------------------------- text, vision, audio


@pytest.mark.parametrize("path", ["", "/vision", "/audio", "/video"])
def test_every_endpoint_has_an_enterprise_name_that_takes_the_same(path):
    plain = endpoints.ENDPOINTS[f"openrouter/router{path}"]
    named = endpoints.ENDPOINTS[f"openrouter/router{path}/enterprise"]
    assert (plain.input, plain.output, plain.order) == (named.input, named.output, named.order)


def test_a_text_needs_a_prompt_and_a_model():
    assert parse(TEXT) == RouterRequest(prompt="p", model="m")
    assert problems(TEXT, {}) == [(("body", "prompt"), "missing"), (("body", "model"), "missing")]


def test_images_keep_their_order_and_documents_come_after_them():
    asked = parse(VISION, image_urls=["a", "b"], pdf_urls=["c"])
    assert asked.media == (
        MediaName("a", ("body", "image_urls", 0), "image", 0),
        MediaName("b", ("body", "image_urls", 1), "image", 1),
        MediaName("c", ("body", "pdf_urls", 0), "pdf", 0),
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, (("body", "image_urls"), "missing")),
        ({"image_urls": None}, (("body", "image_urls"), "list_type")),
        ({"image_urls": "a"}, (("body", "image_urls"), "list_type")),
        ({"image_urls": [1]}, (("body", "image_urls", 0), "string_type")),
        ({"image_urls": ["a"] * 101}, (("body", "image_urls"), "sequence_too_long")),
        ({"image_urls": [], "pdf_urls": ["a"] * 101}, (("body", "pdf_urls"), "sequence_too_long")),
        ({"image_urls": [], "temperature": 3}, (("body", "temperature"), "less_than_equal")),
        ({"image_urls": [], "max_tokens": 0}, (("body", "max_tokens"), "greater_than_equal")),
    ],
)
def test_what_is_wrong_with_a_vision_input_is_said_where_it_is(fields, problem):
    assert problems(VISION, MINIMAL | fields) == [problem]


def test_audio_is_one_url():
    assert parse(AUDIO, audio_url="a").media == (MediaName("a", ("body", "audio_url"), "audio"),)
    assert problems(AUDIO, MINIMAL) == [(("body", "audio_url"), "missing")]
    assert problems(AUDIO, MINIMAL | {"audio_url": ["a"]}) == [
        (("body", "audio_url"), "string_type")
    ]


@pytest.mark.parametrize("endpoint", [TEXT, VISION])
def test_a_search_is_wanted_only_when_it_is_enabled(endpoint):
    def search(**fields):
        return parse(endpoint, image_urls=[], **fields)

    assert search().web_search is None
    assert search(enable_web_search=None).web_search is None
    assert search(enable_web_search=True).web_search == {}
    options = {"max_results": 2}
    wanted = search(enable_web_search=True, web_search_options=options)
    assert (wanted.web_search, wanted.unsaid) == (options, ())
    unheeded = search(web_search_options=options)
    assert unheeded.web_search is None
    assert unheeded.unsaid == ("web_search_options without enable_web_search",)


def test_audio_and_video_have_no_search():
    assert parse(AUDIO, audio_url="a", enable_web_search=True).web_search is None


# ---------------------------------------------------------------- what is published


@pytest.mark.parametrize(
    ("path", "title", "order", "required"),
    [
        (
            "",
            "ChatInput",
            [*endpoints._COMMON, "enable_web_search", "web_search_options"],
            ["prompt", "model"],
        ),
        (
            "/vision",
            "VisionInput",
            [
                "image_urls",
                *endpoints._COMMON,
                "pdf_urls",
                "enable_web_search",
                "web_search_options",
            ],
            ["image_urls", "prompt", "model"],
        ),
        (
            "/audio",
            "AudioInput",
            ["audio_url", *endpoints._COMMON],
            ["audio_url", "prompt", "model"],
        ),
        ("/video/enterprise", "VideoEnterpriseInput", ["video_urls", *endpoints._COMMON], None),
    ],
)
def test_inputs_are_published_under_fals_titles_and_in_its_order(path, title, order, required):
    endpoint = endpoints.ENDPOINTS[f"openrouter/router{path}"]
    schema = queue_document(endpoint, AT)["components"]["schemas"][f"{endpoint.schema_name}Input"]
    assert schema["title"] == title
    assert schema["x-fal-order-properties"] == list(schema["properties"])
    assert list(schema["properties"])[: len(order)] == order
    assert required is None or schema["required"] == required
    assert schema["properties"]["temperature"]["maximum"] == 2
    assert schema["properties"]["max_tokens"]["minimum"] == 1


def test_outputs_are_published_as_fal_has_them():
    schemas = queue_document(endpoints.ENDPOINTS[TEXT], AT)["components"]["schemas"]
    made = schemas["RouterOutput"]
    assert made["title"] == "ChatOutput"
    assert made["required"] == ["output"]
    assert sorted(made["properties"]) == ["error", "output", "partial", "reasoning", "usage"]
    assert made["properties"]["partial"]["default"] is False
    assert schemas["UsageInfo"]["required"] == ["cost"]
    vision = queue_document(endpoints.ENDPOINTS[VISION], AT)["components"]["schemas"]
    assert vision["RouterVisionOutput"]["title"] == "VisionOutput"
    assert list(vision["RouterVisionOutput"]["properties"]) == ["output", "usage"]


def test_of_openais_api_no_schema_is_published():
    endpoint = endpoints.ENDPOINTS[f"{BASE}/chat/completions"]
    document = queue_document(endpoint, AT)
    assert document["components"]["schemas"]["RouterOpenaiV1ChatCompletionsOutput"] == {}
    assert f"/{BASE}/chat/completions/requests/{{request_id}}" in document["paths"]


@pytest.mark.parametrize("id", endpoints.ENDPOINTS)
def test_the_example_of_every_endpoint_is_one_that_it_takes(id):
    endpoint = endpoints.ENDPOINTS[id]
    assert endpoints.parse_input(id, endpoint.example).model == endpoint.example["model"]
    json.dumps(endpoint.example)


# ---------------------------------------------------------------- results


def result(endpoint, outcome, **fields):
    document = MINIMAL | {"image_urls": [], "audio_url": "a"} | fields
    request = Request(id="r", endpoint=endpoint, mode="run", caller=Caller("k"), document=document)
    return json.loads(wire.result(request, outcome).body), request


USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0}


def test_a_text_tells_reasoning_partial_and_error_always():
    body, _ = result(TEXT, Outcome(output="o", reasoning="why", usage=Usage()))
    expected = {"output": "o", "reasoning": None, "partial": False, "error": None, "usage": USAGE}
    assert body == expected
    body, _ = result(TEXT, Outcome(output="o", reasoning="why", usage=Usage()), reasoning=True)
    assert body == expected | {"reasoning": "why"}


@pytest.mark.parametrize("endpoint", [VISION, AUDIO])
def test_the_others_tell_output_and_usage(endpoint):
    body, _ = result(endpoint, Outcome(output="o", usage=Usage()))
    assert body == {"output": "o", "usage": USAGE}


def test_an_answer_in_openais_words_is_the_result_as_it_is():
    answer = {"object": "chat.completion", "choices": []}
    request = Request(
        id="r",
        endpoint=f"{BASE}/chat/completions",
        mode="run",
        caller=Caller("k"),
        document={"model": "m", "messages": []},
    )
    made = wire.result(request, Outcome(answer=answer, usage=Usage(cost_source="free")))
    assert json.loads(made.body) == answer
    assert made.headers["x-telecine-cost-source"] == "free"


# ---------------------------------------------------------------- OpenAI's bodies


def test_a_chat_is_a_conversation_and_a_plain_question():
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": "u"}},
                ],
            },
        ],
        "max_tokens": 9,
        "max_completion_tokens": 7,
        "temperature": 0.5,
        "stream": True,
        "seed": 1,
    }
    asked = endpoints.parse_input(f"{BASE}/chat/completions", body)
    assert (asked.prompt, asked.system_prompt) == ("What?", "Be brief.")
    assert (asked.max_tokens, asked.temperature) == (7, 0.5)
    assert [name.kind for name in asked.media] == ["image"]
    assert (asked.seed, asked.unsaid) == (1, ())
    assert asked.conversation.api == "chat"
    assert asked.conversation.is_streamed
    assert asked.conversation.body is body


@pytest.mark.parametrize(
    ("path", "document", "problem"),
    [
        ("chat/completions", {"model": "m"}, (("body", "messages"), "missing")),
        ("chat/completions", {"messages": []}, (("body", "model"), "missing")),
        (
            "chat/completions",
            {"model": "m", "messages": ["a"]},
            (("body", "messages", 0), "dict_type"),
        ),
        (
            "chat/completions",
            {"model": "m", "messages": [], "max_tokens": 0},
            (("body", "max_tokens"), "greater_than_equal"),
        ),
        ("embeddings", {"model": "m"}, (("body", "input"), "missing")),
        ("responses", [], (("body",), "model_attributes_type")),
    ],
)
def test_of_openais_bodies_only_the_bones_are_judged(path, document, problem):
    assert problems(f"{BASE}/{path}", document) == [problem]


@pytest.mark.parametrize(("count", "is_fine"), [(100, True), (101, False)])
def test_a_chat_may_have_so_many_media(count, is_fine):
    parts = [{"type": "image_url", "image_url": {"url": "u"}}] * count
    document = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    if is_fine:
        asked = endpoints.parse_input(f"{BASE}/chat/completions", document)
        assert [name.index for name in asked.media] == list(range(count))
    else:
        [(loc, type_)] = problems(f"{BASE}/chat/completions", document)
        assert (loc[-1], type_) == (100, "sequence_too_long")


def test_a_response_without_input_is_for_the_provider_to_judge():
    asked = endpoints.parse_input(f"{BASE}/responses", {"model": "m", "prompt": {"id": "p"}})
    assert asked.conversation.api == "responses"


# ---------------------------------------------------------------- failures in both shapes


def test_a_failure_tells_openais_sdks_not_to_ask_again_for_what_may_be_billed():
    from telecine.errors import LimitReached, ProviderFailed, ProviderUnavailable

    def told(error):
        made = wire.openai_result(wire.failure(error, request_id="r"))
        return made.status, made.headers["x-should-retry"], json.loads(made.body)

    status, retry, body = told(ProviderFailed("It broke"))
    assert (status, retry) == (500, "false")
    assert body["error"]["message"] == "It broke"
    assert body["detail"][0]["msg"] == "It broke"
    assert told(ProviderUnavailable("Busy"))[:2] == (503, "true")
    assert told(LimitReached("Slow down"))[:2] == (429, "true")
    assert told(ValueError("a bug"))[:2] == (500, "false")


def test_a_result_that_is_none_of_a_failure_keeps_its_body():
    from telecine.models import Result

    made = wire.openai_result(
        Result(status=200, headers={"x-fal-request-id": "r"}, body='{"id":1}')
    )
    assert made.body == '{"id":1}'
    assert made.headers["x-request-id"] == "r"
