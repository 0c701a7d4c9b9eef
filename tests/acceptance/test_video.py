"""C110-C116: what the video endpoint takes and gives (spec 17.1)."""

import hashlib

import pytest
from tests.acceptance.conftest import ENDPOINT
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.jobs import submitted
from tests.acceptance.support.schema import problems

QUICK = {"prompt": "x", "model": "echo/echo"}


def sha256(name):
    return hashlib.sha256((DATA / name).read_bytes()).hexdigest()


def test_c110_js_with_a_prompt_and_a_model_alone(node):
    answer = node("video.answered", input=QUICK)
    assert answer["data"]["output"] == "x"


def test_c111_js_with_one_video_url_or_both_fields(node, clips, asked):
    url = f"{clips}/jfk_slides.mp4"
    one = node("video.answered", input={**QUICK, "video_url": url})
    many = node("video.answered", input={**QUICK, "video_urls": [url]})
    assert f"video 1: sha256={sha256('jfk_slides.mp4')}" in one["data"]["output"]
    assert one["data"] == many["data"]
    error = node("video.refused", input={**asked(), "video_url": url})
    assert (error["kind"], error["status"]) == ("ValidationError", 422)
    (entry,) = error["body"]["detail"]
    assert (entry["loc"], entry["type"]) == (["body"], "value_error")
    assert "video_urls" in entry["msg"]
    assert "video_url," in entry["msg"]


@pytest.mark.parametrize(
    ("change", "loc", "type", "ctx"),
    [
        ({"max_tokens": 0}, ["body", "max_tokens"], "greater_than_equal", {"ge": 1}),
        ({"video_urls": "x"}, ["body", "video_urls"], "list_type", None),
        ({"model": None}, ["body", "model"], "string_type", None),
        ({"model": ...}, ["body", "model"], "missing", None),
        ({"prompt": ...}, ["body", "prompt"], "missing", None),
        ({"temperature": -1}, ["body", "temperature"], "greater_than_equal", {"ge": 0}),
        ({"video_urls": [1]}, ["body", "video_urls", 0], "string_type", None),
    ],
)
def test_c112_js_with_a_wrong_field(node, change, loc, type, ctx):
    document = {name: value for name, value in {**QUICK, **change}.items() if value is not ...}
    error = node("video.refused", input=document)
    assert (error["kind"], error["status"]) == ("ValidationError", 422)
    (entry,) = error["body"]["detail"]
    assert (entry["loc"], entry["type"], entry.get("ctx")) == (loc, type, ctx)
    assert entry["msg"]


def test_c113_js_with_a_video_that_is_not_there(node, clips):
    for url in ("http://127.0.0.1:1/a.mp4", f"{clips}/no-such.mp4"):
        error = node("video.refused", input={**QUICK, "video_urls": [url]})
        assert (error["kind"], error["status"]) == ("ValidationError", 422)
        (entry,) = error["body"]["detail"]
        assert (entry["loc"], entry["type"]) == (["body", "video_urls", 0], "file_download_error")


def test_c114_js_with_two_videos_in_order(node, asked):
    names = ("onscreen_instructions_silent.mp4", "jfk_slides.mp4")
    for videos in (names, names[::-1]):
        answer = node("video.answered", input=asked(videos=videos))
        _, first, second = answer["data"]["output"].split("\n")
        assert first.startswith(f"video 1: sha256={sha256(videos[0])} ")
        assert second.startswith(f"video 2: sha256={sha256(videos[1])} ")


def test_c114_js_with_two_videos_for_a_provider(node, asked, upstream):
    videos = ("onscreen_instructions_silent.mp4", "jfk_slides.mp4")
    prompt = "Both, in order."
    model = "google/gemini-2.5-flash"
    node("video.answered", input=asked(model, prompt=prompt, videos=videos))
    (sent,) = [each for each in upstream.received if prompt in str(each.document)]
    assert [video.sha256 for video in sent.videos] == [sha256(name) for name in videos]


@pytest.mark.parametrize("model", ["echo/echo", "openrouter/fake/thoughts"])
def test_c115_js_asks_for_reasoning(node, asked, model):
    data = node("video.answered", input=asked(model, reasoning=True))["data"]
    assert isinstance(data["output"], str)
    assert isinstance(data.get("reasoning", ""), str)
    if model == "openrouter/fake/thoughts":
        assert data["reasoning"] == "Let me look."


def test_c116_the_answers_are_as_the_openapi_document_says(node, raw, asked):
    document = raw.get(f"/api/openapi/queue/openapi.json?endpoint_id={ENDPOINT}").json()
    paths, one = document["paths"], f"/{ENDPOINT}/requests/{{request_id}}"

    def schema(path):
        return paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    given = paths[f"/{ENDPOINT}"]["post"]["requestBody"]["content"]["application/json"]["schema"]

    data = node("video.answered", input=asked())["data"]
    assert problems(asked(), given, document) == []
    assert problems(data, schema(one), document) == []
    assert isinstance(data["usage"]["cost"], int | float)
    with submitted(raw, QUICK) as job:
        job.becomes("COMPLETED")
        status = job.status().json()
        # fal's document calls logs an object, and its service sends a list or null.
        assert status.pop("logs") is None
        assert problems(status, schema(f"{one}/status"), document) == []
        assert problems(job.result().json(), schema(one), document) == []
    # The checks can fail.
    assert problems({"output": 1, "usage": {}}, schema(one), document) == [
        "$.output is 1, not of type string",
        "$.usage lacks cost",
    ]
