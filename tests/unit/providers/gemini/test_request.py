import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.errors import FormRefused, InputError
from telecine.models import (
    Audio,
    AudioPart,
    Call,
    FilePart,
    FramesPart,
    Image,
    ImagePart,
    LinkPart,
    Pdf,
    PdfPart,
    Prepared,
    Still,
    Video,
    View,
    Words,
)
from telecine.providers.body import Base64
from telecine.providers.gemini.generations import generation
from telecine.providers.gemini.request import check, document, key, uploads, warnings

FLASH, OLD, NEW = "gemini-2.5-flash", "gemini-2.0-flash", "gemini-3.1-pro-preview"


def facts(tmp_path, index=0, size=4, name="video_urls"):
    return {
        "index": index,
        "found": "data",
        "origin": "data URI",
        "loc": ("body", name, index),
        "path": tmp_path / f"{name}{index}",
        "bytes": size,
        "sha256": hashlib.sha256(b"%d" % index).hexdigest(),
    }


def video(tmp_path, index=0, size=4, seconds=10.0, **more):
    given = {"mime": "video/mp4", "container": "mp4", "seconds": seconds} | more
    return Video(**facts(tmp_path, index, size), **given)


def link(url="https://www.youtube.com/watch?v=abc", index=0, **more):
    return LinkPart(url, ("body", "video_urls", index), **more)


def call(*parts, model=FLASH, **more):
    return Call(request_id="r", model=model, prompt="What is in it?", parts=parts, **more)


def made(asked, uris=None):
    return document(asked, generation(asked.model), uris or {})


def pieces(asked, uris=None):
    return made(asked, uris)["contents"][0]["parts"]


def config(asked):
    return made(asked).get("generationConfig")


# ---------------------------------------------------------------- media


def test_videos_come_before_the_text(tmp_path):
    one, two = video(tmp_path, 0), video(tmp_path, 1, mime="video/quicktime", container="mov")
    assert pieces(call(FilePart(one), FilePart(two))) == [
        {"inlineData": {"mimeType": "video/mp4", "data": Base64(one.path)}},
        {"inlineData": {"mimeType": "video/quicktime", "data": Base64(two.path)}},
        {"text": "What is in it?"},
    ]


def test_what_was_made_of_a_video_goes_instead_of_it(tmp_path):
    small = Prepared(
        path=tmp_path / "small",
        bytes=2,
        sha256="s",
        mime="video/mp4",
        container="mp4",
        seconds=1.0,
        width=1,
        height=1,
        fps=1.0,
        has_audio=False,
    )
    part = FilePart(video(tmp_path, size=99_000_000), prepared=small)
    assert pieces(call(part))[0]["inlineData"]["data"] == Base64(small.path)
    assert uploads(call(part)) == []


def test_an_uploaded_file_is_named_by_its_address(tmp_path):
    part = FilePart(video(tmp_path, size=20_000_000), View(start=1))
    [source] = uploads(call(part))
    assert pieces(call(part), {key(source): "https://g/files/x"})[0] == {
        "fileData": {"fileUri": "https://g/files/x", "mimeType": "video/mp4"},
        "videoMetadata": {"startOffset": "1s"},
    }


def test_a_youtube_link_has_no_type_and_another_address_has_that_of_its_video(tmp_path):
    clip = video(tmp_path, mime="video/webm")
    url = link("https://example.com/v", 1, video=clip)
    first, second, _ = pieces(call(link(), url, model=NEW))
    assert first == {"fileData": {"fileUri": "https://www.youtube.com/watch?v=abc"}}
    assert second["fileData"] == {"fileUri": "https://example.com/v", "mimeType": "video/webm"}


def test_stills_come_after_their_times_with_what_is_said(tmp_path):
    stills = tuple(Still(float(s), tmp_path / f"{s}.jpg", 9, 4, 3) for s in (0, 5))
    part = FramesPart(video(tmp_path), stills, (Words(1.0, 2.0, "hello"),))
    told = pieces(call(part))
    kinds = ["image" if "inlineData" in piece else piece["text"] for piece in told]
    assert kinds[1:3] == ["[00:00]", "image"]
    assert "hello" in kinds[3]
    assert kinds[4:] == ["[00:05]", "image", "What is in it?"]
    assert told[2]["inlineData"]["mimeType"] == "image/jpeg"


def test_images_sounds_and_documents_go_inline(tmp_path):
    image = Image(
        **facts(tmp_path, name="image_urls"), mime="image/png", format="png", width=1, height=1
    )
    about = facts(tmp_path, name="audio_url")
    sound = Audio(**about, mime="audio/mpeg", format="mp3", seconds=1.0, codec="mp3")
    paper = Pdf(**facts(tmp_path, name="pdf_urls"), mime="application/pdf")
    told = pieces(call(ImagePart(image), AudioPart(sound), PdfPart(paper)))
    mimes = [piece["inlineData"]["mimeType"] for piece in told[:3]]
    assert mimes == ["image/png", "audio/mp3", "application/pdf"]


# ---------------------------------------------------------------- inline, or uploaded


def test_up_to_15_mb_in_all_nothing_is_uploaded(tmp_path):
    parts = [FilePart(video(tmp_path, n, 4_999_990)) for n in range(3)]
    assert uploads(call(*parts)) == []


def test_over_it_the_largest_are_uploaded_until_the_rest_fits(tmp_path):
    sizes = (9_000_000, 14_000_000, 1_000_000)
    parts = [FilePart(video(tmp_path, n, size)) for n, size in enumerate(sizes)]
    [source] = uploads(call(*parts))
    assert (source.bytes, source.label) == (14_000_000, "video 2/3")


def test_a_long_prompt_takes_its_part_of_the_room(tmp_path):
    part = FilePart(video(tmp_path, size=14_500_000))
    assert uploads(call(part)) == []
    assert len(uploads(call(part, system_prompt="x" * 600_000))) == 1


@given(st.lists(st.integers(0, 40_000_000), max_size=8), st.integers(0, 8_000_000))
def test_what_stays_inside_always_fits(sizes, stills):
    parts = [FilePart(video(_Nowhere(), n, size)) for n, size in enumerate(sizes)]
    frames = FramesPart(video(_Nowhere(), 99), (Still(0.0, _Nowhere() / "s", stills, 1, 1),))
    asked = call(*parts, frames)
    out = {source.sha256 for source in uploads(asked)}
    inside = sum(part.bytes for part in parts if part.sha256 not in out)
    assert inside + stills <= 15_000_000


class _Nowhere:
    def __truediv__(self, name):
        return name


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(start=40, end=80, fps=0.2), {"startOffset": "40s", "endOffset": "80s", "fps": 0.2}),
        (View(start=1.25, end=2.0005), {"startOffset": "1.25s", "endOffset": "2.001s"}),
        (View(fps=60), {"fps": 24.0}),
        (View(max_frames=5), {"fps": 0.5}),
        (View(max_frames=5, start=5), None),
        (View(max_frames=100), None),
        (View(max_frames=3, fps=2), {"fps": 0.3}),
        (View(max_frames=1, end=7), {"endOffset": "7s", "fps": 0.1428}),
    ],
)
def test_a_view_becomes_metadata_of_the_video(tmp_path, view, expected):
    [part, _] = pieces(call(FilePart(video(tmp_path), view)))
    told = part.get("videoMetadata")
    if expected is None and view.start is not None:
        expected = {"startOffset": "5s"}
    assert told == expected


@given(st.integers(1, 2000), st.floats(0.1, 100_000))
def test_max_frames_never_samples_more(most, seconds):
    part = FilePart(video(_Nowhere(), seconds=seconds), View(max_frames=most))
    fps = pieces(call(part))[0].get("videoMetadata", {}).get("fps", 1.0)
    assert 0 < fps <= 24
    assert fps * seconds <= most * (1 + 1e-9)


def test_resolution_is_one_for_all_before_generation_3_and_each_parts_own_after(tmp_path):
    parts = [
        FilePart(video(tmp_path, n), View(resolution=r)) for n, r in enumerate(["low", "medium"])
    ]
    assert config(call(*parts)) == {"mediaResolution": "MEDIA_RESOLUTION_MEDIUM"}
    assert "mediaResolution" not in pieces(call(*parts))[0]
    newer = call(*parts, model=NEW)
    assert config(newer) is None
    assert pieces(newer)[0]["mediaResolution"] == {"level": "MEDIA_RESOLUTION_LOW"}


def test_options_go_where_google_looks_for_them():
    schema = {"type": "object"}
    asked = call(
        system_prompt="Be brief.",
        temperature=0.5,
        max_tokens=9,
        seed=3,
        stop=("END",),
        reasoning=True,
        effort="low",
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )
    assert config(asked) == {
        "temperature": 0.5,
        "maxOutputTokens": 9,
        "stopSequences": ["END"],
        "seed": 3,
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024},
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert made(asked)["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [({"type": "json_object"}, {"responseMimeType": "application/json"}), ({"type": "text"}, None)],
)
def test_plain_json_and_plain_text_need_no_schema(wanted, expected):
    assert config(call(response_format=wanted)) == expected


def test_what_nobody_asked_for_is_not_sent():
    assert made(call()) == {
        "contents": [{"role": "user", "parts": [{"text": "What is in it?"}]}],
    }


def test_no_thoughts_are_asked_for_where_there_are_none():
    assert config(call(reasoning=True, effort="none")) == {"thinkingConfig": {"thinkingBudget": 0}}


def test_models_that_do_not_think_are_told_nothing_of_it():
    assert config(call(model=OLD, reasoning=True)) is None


# ---------------------------------------------------------------- what cannot be done


def test_models_before_2_5_take_one_youtube_link():
    links = [link(index=n) for n in range(2)]
    with pytest.raises(InputError) as caught:
        check(call(*links, model=OLD), generation(OLD))
    assert caught.value.problems[0].loc == ("body", "video_urls", 1)
    check(call(*links), generation(FLASH))


def test_an_address_goes_only_to_models_that_fetch_it_and_only_up_to_100_mb(tmp_path):
    fits = link("https://example.com/v", video=video(tmp_path))
    large = replace(fits, video=video(tmp_path, size=100_000_001))
    check(call(fits, model=NEW), generation(NEW))
    for asked in (call(fits), call(large, model=NEW)):
        with pytest.raises(FormRefused):
            check(asked, generation(asked.model))


def test_what_is_not_done_as_asked_is_warned_of(tmp_path):
    clip = FilePart(video(tmp_path), View(fps=60))
    pro = "gemini-2.5-pro"
    asked = call(clip, link(view=View(max_frames=3)), model=pro, effort="none")
    told = " ".join(warnings(asked, generation(pro)))
    assert "24 frames" in told
    assert "max_frames" in told
    assert "not to think" in told
    assert warnings(call(FilePart(video(tmp_path), View(fps=1))), generation(FLASH)) == []
