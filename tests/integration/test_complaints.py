"""What users of other gateways and servers reported, each as a test that it does not happen here.

The names carry repository and number. Those about Gemini's own API are in test_complaints_gemini.
"""

from decimal import Decimal

import pytest
from tests.contract.test_conversations import converse, talk
from tests.contract.test_dialects import YOUTUBE, content, link, shape, stills
from tests.contract.test_providers import (
    DEAD,
    WATCHERS,
    ask,
    call,
    image,
    only,
    opened,
    switch,
    text,
    upstream,
    video,
)

from telecine.errors import FormRefused, ProviderFailed
from telecine.models import FilePart, Log, Usage, View, Words
from telecine.providers import catalog, failures, verbatim

__all__ = ["upstream"]

GIVEN = {"type": "video_url", "video_url": {"url": "data:,x"}}


def asked_with(clip, part=None, *, role="user", api="chat"):
    """A conversation whose only message is `part`, and the call that carries `clip` in its place."""
    name = "messages" if api == "chat" else "input"
    body = talk(api, **{name: [{"role": role, "content": [part or GIVEN]}]})
    return body, (FilePart(clip),)


def clip_at(folder, *loc, **more):
    return video(folder / "clip", b"clip", loc=("body", *loc), **more)


# ---------------------------------------------------------------- dropped, or the wrong part


@pytest.mark.parametrize("kind", ["vllm", "openrouter"])
def test_cliproxyapi_3920_a_video_url_in_a_chat_is_not_dropped(run, upstream, kind, tmp_path):
    body, parts = asked_with(clip_at(tmp_path, "messages", 0, "content", 0))
    run(converse(kind, upstream.url, body, call(kind, parts=parts)))
    assert [sent.sha256 for sent in upstream.last.videos] == [parts[0].sha256]


def test_operit_1146_a_video_in_a_response_is_not_dropped(run, upstream, tmp_path):
    given = {"type": "input_video", "video_url": "data:,x"}
    clip = clip_at(tmp_path, "input", 0, "content", 0)
    body, parts = asked_with(clip, given, api="responses")
    run(converse("openrouter", upstream.url, body, call(parts=parts)))
    assert [sent.sha256 for sent in upstream.last.videos] == [clip.sha256]


@pytest.mark.parametrize("kind", WATCHERS)
def test_dify_plugins_3696_a_video_is_never_sent_as_an_image(run, upstream, kind, tmp_path):
    run(ask(kind, upstream.url, call(kind, None, video(tmp_path / "c", b"clip"))))
    assert len(upstream.last.videos) == 1
    assert "image_url" not in {part["type"] for part in content(upstream)}


def test_new_api_4252_a_video_link_is_not_an_image_for_openrouter(run, upstream):
    run(ask("openrouter", upstream.url, call(parts=(YOUTUBE,))))
    assert content(upstream)[1] == {"type": "video_url", "video_url": {"url": YOUTUBE.url}}


def test_dify_11980_a_video_among_the_instructions_is_not_ignored(run, upstream, tmp_path):
    clip = clip_at(tmp_path, "messages", 0, "content", 0)
    body, parts = asked_with(clip, role="system")
    run(converse("vllm", upstream.url, body, call("vllm", parts=parts)))
    assert upstream.last.document["messages"][0]["role"] == "system"
    assert [sent.sha256 for sent in upstream.last.videos] == [clip.sha256]


# ---------------------------------------------------------------- dialects


def test_sillytavern_5331_openrouter_gets_video_url_not_input_video(run, upstream, tmp_path):
    given = {"type": "input_video", "input_video": {"data": "AAAA"}}
    clip = clip_at(tmp_path, "messages", 0, "content", 0)
    body, parts = asked_with(clip, given)
    run(converse("openrouter", upstream.url, body, call(parts=parts)))
    assert [part["type"] for part in content(upstream)] == ["video_url"]


def test_sillytavern_4899_a_webm_for_glm_is_a_video(run, upstream, tmp_path):
    clip = video(tmp_path / "c", b"clip", mime="video/webm", container="webm")
    run(ask("zai", upstream.url, call("zai", None, clip)))
    assert [sent.mime for sent in upstream.last.videos] == ["video/webm"]


def test_sillytavern_3524_several_videos_go_in_one_question(run, upstream, tmp_path):
    clips = [video(tmp_path / f"{n}", b"clip%d" % n, n) for n in range(3)]
    run(ask("openrouter", upstream.url, call("openrouter", None, *clips)))
    assert [sent.sha256 for sent in upstream.last.videos] == [clip.sha256 for clip in clips]


def test_pydantic_ai_3784_openrouter_takes_videos_by_address(run, upstream, tmp_path):
    run(ask("openrouter", upstream.url, call(parts=(link(tmp_path),))))
    assert upstream.last.links == ["https://example.org/a.mp4"]


def test_effect_6003_openrouter_takes_youtube_links(run, upstream):
    run(ask("openrouter", upstream.url, call(parts=(YOUTUBE,))))
    assert upstream.last.links == [YOUTUBE.url]


def test_typescript_sdk_126_openrouter_takes_files(run, upstream, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    run(ask("openrouter", upstream.url, call("openrouter", None, clip)))
    assert [sent.sha256 for sent in upstream.last.videos] == [clip.sha256]


def test_ai_sdk_provider_383_a_video_is_no_document(run, upstream, tmp_path):
    run(ask("openrouter", upstream.url, call("openrouter", None, video(tmp_path / "c", b"clip"))))
    assert not upstream.last.of("file")


def test_ai_sdk_provider_417_a_youtube_page_is_not_sent_as_a_video(run, upstream):
    run(ask("openrouter", upstream.url, call(parts=(YOUTUBE,))))
    assert not upstream.last.media


@pytest.mark.parametrize("part", [GIVEN, {"type": "input_video", "input_video": {"data": "AA=="}}])
@pytest.mark.parametrize("kind", ["vllm", "llamacpp"])
def test_mastra_11743_any_word_for_a_video_becomes_the_servers_own(
    run, upstream, kind, part, tmp_path
):
    clip = clip_at(tmp_path, "messages", 0, "content", 0)
    body, parts = asked_with(clip, part)
    run(converse(kind, upstream.url, body, call(kind, parts=parts)))
    word = {"vllm": "video_url", "llamacpp": "input_video"}[kind]
    assert [part["type"] for part in content(upstream)] == [word]


def test_openai_node_1778_frames_keep_their_times_and_what_was_said(run, upstream, tmp_path):
    loc = ("body", "input", 0, "content", 0)
    given = {"type": "input_video", "video_url": "data:,x"}
    body = talk("responses", input=[{"role": "user", "content": [given]}])
    part = stills(tmp_path / "f", 2, loc=loc, words=(Words(0, 1, "Hello."),))
    run(converse("generic", upstream.url, body, call("generic", parts=(part,))))
    told = [part.get("text", "picture") for part in upstream.last.document["input"][0]["content"]]
    assert told[1] == "picture"
    assert "[00:00]" in told[0]
    assert "Said 00:00-00:01: Hello.\n[00:01]" in told[2]


def test_vllm_29754_input_video_is_understood_and_becomes_video_url(run, upstream, tmp_path):
    given = {"type": "input_video", "video_url": {"url": "data:,x"}}
    clip = clip_at(tmp_path, "messages", 0, "content", 0)
    body, parts = asked_with(clip, given)
    run(converse("vllm", upstream.url, body, call("vllm", parts=parts)))
    assert [part["type"] for part in content(upstream)] == ["video_url"]


def test_llama_swap_1014_the_operator_can_say_that_a_model_takes_videos(run):
    async def use():
        async with opened("ollama", DEAD, video="native") as provider:
            return await provider.capabilities("m")

    assert "file" in run(use()).delivery


# ---------------------------------------------------------------- tokens and cost


def test_litellm_36887_video_tokens_of_a_response_are_counted():
    answer = verbatim.answer("responses", reads_cost=True)
    usage = {
        "input_tokens": 527,
        "input_tokens_details": {"video_tokens": 516},
        "output_tokens": 3,
        "total_tokens": 530,
    }
    response = {"object": "response", "status": "completed", "id": "r", "usage": usage}
    answer.take({"type": "response.completed", "response": response})
    assert answer.usage.by_modality == {"video": 516}


def test_litellm_18153_tokens_of_media_are_charged_like_all_others():
    price = catalog.Price(prompt=Decimal("0.000001"), completion=Decimal(0), source="test")
    usage = Usage(prompt_tokens=1000, total_tokens=1000, by_modality={"image": 980, "text": 20})
    assert price.cost(usage) == Decimal("0.001")


def test_litellm_24339_a_video_that_counted_no_tokens_is_warned_of(run, upstream, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    events = run(ask("openrouter", upstream.url, switch("zero-prompt", "openrouter", clip)))
    assert "counted no prompt tokens" in only(Log, events)[0].message


# ---------------------------------------------------------------- frames, rates, length


def test_qwen3_vl_1517_1845_the_rate_reaches_vllms_loader_and_the_models_processor(
    run, upstream, tmp_path
):
    clip = FilePart(video(tmp_path / "c", b"clip"), View(fps=2.0))
    run(ask("vllm", upstream.url, call("vllm", parts=(clip,))))
    sent = upstream.last.document
    # A rate without a number takes away the number that the loader has by default.
    assert sent["media_io_kwargs"]["video"] == {"fps": 2.0}
    assert sent["mm_processor_kwargs"]["fps"] == 2.0


def test_qwen3_vl_1643_1634_frames_go_as_pictures_unless_the_operator_says_videos(
    run, upstream, tmp_path
):
    part = stills(tmp_path / "f", 5)
    run(ask("vllm", upstream.url, call("vllm", parts=(part,))))
    assert len(upstream.last.of("image")) == 5
    run(ask("vllm", upstream.url, call("vllm", parts=(part,)), video="native"))
    assert [sent.mime for sent in upstream.last.videos] == ["video/jpeg"]


def test_qwen3_vl_1643_a_500_without_words_is_told_as_one():
    failure = failures.parse('{"error":{"message":"","code":500}}', status=500, retry_after=None)
    error = failures.error(failure, call("vllm"), provider="vllm")
    assert (type(error), error.message) == (ProviderFailed, "vllm answered 500")


def test_qwen3_vl_1641_vllm_is_not_sent_dashscopes_list_of_frames(run, upstream, tmp_path):
    for kind, takes in (("vllm", False), ("dashscope", True)):
        part = stills(tmp_path / "f", 5)
        run(ask(kind, upstream.url, call(kind, parts=(part,))))
        assert ("video" in {part["type"] for part in content(upstream)}) is takes


def test_minicpm_v_949_no_base_64_where_a_vendor_fetches_and_frames_are_limited(
    run, upstream, tmp_path
):
    run(ask("dashscope", upstream.url, call("dashscope", parts=(link(tmp_path),))))
    assert not upstream.last.media
    clip = FilePart(video(tmp_path / "c", b"clip"), View(max_frames=8, resolution="low"))
    run(ask("sglang", upstream.url, call("sglang", "MiniCPM-V-4", parts=(clip,))))
    told = content(upstream)[1]["video_url"]
    assert (told["max_frames"], told["max_tokens_per_frame"]) == (8, 128)


def test_minicpm_324_the_rate_stands_where_each_server_reads_it(run, upstream, tmp_path):
    inside = []
    for kind in ("vllm", "sglang", "ark", "dashscope"):
        clip = FilePart(video(tmp_path / "c", b"clip"), View(fps=2.0))
        run(ask(kind, upstream.url, call(kind, parts=(clip,))))
        inside.append("fps" in content(upstream)[1]["video_url"])
    assert inside == [False, True, True, False]


def test_ovis_90_a_server_set_to_no_videos_refuses_the_form(tmp_path):
    said = "At most 0 video(s) may be provided in one prompt."
    failure = failures.parse(said, status=400, retry_after=None)
    question = call("vllm", None, video(tmp_path / "c", b"clip"))
    assert type(failures.error(failure, question, provider="vllm")) is FormRefused


def test_llama_cpp_29129_a_model_that_does_not_hear_is_not_said_to(run):
    async def use():
        async with opened("llamacpp", DEAD) as provider:
            return await provider.capabilities("m")

    assert not run(use()).hears


def test_ollama_8419_16145_a_video_reaches_ollama_as_frames(run, upstream, tmp_path):
    async def forms():
        async with opened("ollama", upstream.url) as provider:
            return (await provider.capabilities("qwen3-vl:8b")).delivery

    assert run(forms()) == ("frames",)
    events = run(ask("ollama", upstream.url, call("ollama", parts=(stills(tmp_path / "f", 3),))))
    assert text(events) == upstream.last.said
    assert shape(content(upstream)).count("image_url") == 3


def test_openai_images_are_still_images(run, upstream, tmp_path):
    """The other way round: a picture beside a video stays one."""
    parts = (image(tmp_path / "i"), FilePart(video(tmp_path / "c", b"clip")))
    run(ask("vllm", upstream.url, call("vllm", parts=parts)))
    assert [part["type"] for part in content(upstream)] == ["text", "image_url", "video_url"]
