from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.errors import InputError
from telecine.media import plan
from telecine.models import (
    Audio,
    AudioPart,
    Capabilities,
    DecodedPart,
    FilePart,
    Image,
    ImagePart,
    LinkPart,
    MediaName,
    Pdf,
    PdfPart,
    Video,
)

ID = "dQw4w9WgXcQ"
WATCH = f"https://www.youtube.com/watch?v={ID}"
DECODER = object()


def name(text, index=0):
    return MediaName(text, ("body", "video_urls", index), index=index)


def video(index=0, *, seconds=10.0, size=1000):
    return Video(
        index=index,
        found="url",
        origin="https://example.com/v.mp4",
        loc=("body", "video_urls", index),
        path=Path("/nowhere"),
        bytes=size,
        sha256="0" * 64,
        container="mp4",
        mime="video/mp4",
        seconds=seconds,
    )


@pytest.mark.parametrize(
    "text",
    [
        WATCH,
        f"http://youtube.com/watch?v={ID}",
        f"HTTPS://WWW.YouTube.COM/watch?app=desktop&v={ID}&list=PL1",
        f"https://m.youtube.com/watch?v={ID}",
        f"https://music.youtube.com/watch?v={ID}",
        f"https://youtu.be/{ID}?si=abc",
        f"https://youtube.com/shorts/{ID}",
        f"https://www.youtube.com/embed/{ID}",
        f"https://www.youtube.com/live/{ID}?feature=share",
        f"https://www.youtube-nocookie.com/embed/{ID}",
        f"https://www.youtube.com:443/watch?v={ID}",
    ],
)
def test_every_form_of_a_youtube_link_becomes_the_watch_link(text):
    assert plan.is_link(text)
    [link] = plan.links([name(text)], Capabilities(delivery=("link",)))
    assert link == LinkPart(WATCH, ("body", "video_urls", 0))


@pytest.mark.parametrize(
    "text",
    [
        f"https://youtube.com.evil.example/watch?v={ID}",
        f"https://evilyoutube.com/watch?v={ID}",
        f"https://example.com/youtube.com/watch?v={ID}",
        f"https://youtube.com@example.com/watch?v={ID}",
        f"https://user:pw@youtube.com/watch?v={ID}",
        f"https://youtube.com:8443/watch?v={ID}",
        f"https://www.youtube.com/watch?v={ID}extra",
        "https://www.youtube.com/watch",
        "https://www.youtube.com/playlist?list=PL1",
        "https://www.youtube.com/@channel",
        f"ftp://youtube.com/watch?v={ID}",
        f"youtube.com/watch?v={ID}",
        "https://[::1/watch",
        "https://youtube.com:port/watch",
        "data:video/mp4;base64,AAAA",
        "",
    ],
)
def test_what_only_looks_like_a_youtube_link_is_none(text):
    assert not plan.is_link(text)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (f"https://youtu.be/{ID}?t=90", "&t=90"),
        (f"https://youtu.be/{ID}?t=1h2m3s", "&t=1h2m3s"),
        (f"https://www.youtube.com/watch?v={ID}#t=30s", "&t=30s"),
        (f"https://www.youtube.com/embed/{ID}?start=12", "&t=12"),
        (f"https://youtu.be/{ID}?t=1%26x=2", ""),
    ],
)
def test_a_time_mark_is_kept(text, mark):
    [link] = plan.links([name(text)], Capabilities(delivery=("link",)))
    assert link.url == WATCH + mark


@given(st.text())
def test_no_text_breaks_the_recognition(text):
    assert plan.is_link(text) in {True, False}
    assert plan.is_link("https://youtube.com/" + text) in {True, False}


def test_a_link_is_refused_at_its_place_by_a_model_that_takes_none():
    with pytest.raises(InputError) as caught:
        plan.links(
            [name("https://a.example/v.mp4"), name(WATCH, 1)], Capabilities(delivery=("file",))
        )
    [problem] = caught.value.problems
    assert problem.loc == ("body", "video_urls", 1)
    assert problem.type == "feature_not_supported"
    assert "google/gemini" in problem.msg


def refusals(names, model="some/model", **takes):
    """What is said of `names` before anything is fetched."""
    with pytest.raises(InputError) as caught:
        plan.links(names, Capabilities(**({"delivery": ()} | takes)), model)
    return [(p.loc, p.type, p.msg) for p in caught.value.problems]


def test_a_file_is_refused_before_it_is_fetched_by_a_model_that_takes_links_only():
    [(loc, type_, msg)] = refusals(
        [name(WATCH), name("https://a.example/v", 1)], delivery=("link",)
    )
    assert (loc, type_) == (("body", "video_urls", 1), "feature_not_supported")
    assert msg.startswith("some/model takes YouTube links only, no video files")


@pytest.mark.parametrize("text", ["https://a.example/v.mp4", WATCH, "attachment:00"])
def test_a_model_that_takes_no_videos_at_all_is_said_to_take_none(text):
    [(_, type_, msg)] = refusals([name(text)])
    assert type_ == "feature_not_supported"
    assert msg == "some/model takes no videos: choose a model that sees videos"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("image", "takes no images"),
        ("audio", "takes no sound files"),
        ("pdf", "takes no documents"),
    ],
)
def test_a_model_that_has_no_use_for_a_kind_of_media_is_named_at_each_of_them(kind, says):
    names = [MediaName("https://a.example/x", ("body", "x", n), kind, n) for n in range(2)]
    told = refusals(names, delivery=("file",))
    assert [loc for loc, _, _ in told] == [("body", "x", 0), ("body", "x", 1)]
    assert all(msg.startswith(f"some/model {says}") for _, _, msg in told)


def test_a_refusal_repeats_an_address_but_no_data():
    with pytest.raises(InputError) as caught:
        plan.links([name("https://a.example/v"), name("data:,x", 1)], Capabilities(delivery=()))
    assert [p.input for p in caught.value.problems] == ["https://a.example/v", None]


def image(**changes):
    facts = {
        "index": 0,
        "found": "data",
        "origin": "data URI",
        "loc": ("body", "image_urls", 0),
        "path": Path("a"),
        "bytes": 10,
        "sha256": "",
        "mime": "image/webp",
        "format": "webp",
        "width": 8,
        "height": 8,
    }
    return Image(**(facts | changes))


def test_an_image_of_a_format_that_the_model_does_not_take_is_refused():
    takes = Capabilities(delivery=(), images=("png", "jpeg"))
    names = [MediaName("data:,x", ("body", "image_urls", 0), "image")]
    with pytest.raises(InputError) as caught:
        plan.parts(names, [image()], [], takes, DECODER)
    [problem] = caught.value.problems
    assert (problem.type, problem.loc) == ("unsupported_image_format", ("body", "image_urls", 0))
    assert problem.ctx == {"supported_formats": ["png", "jpeg"]}


def test_every_kind_of_media_becomes_a_part_of_its_own_kind():
    base = {"found": "data", "origin": "o", "path": Path("a"), "bytes": 1, "sha256": ""}
    sound = Audio(
        **base,
        index=0,
        loc=("body", "a"),
        mime="audio/mpeg",
        format="mp3",
        seconds=1.0,
        codec="mp3",
    )
    paper = Pdf(**base, index=0, loc=("body", "p"), mime="application/pdf")
    media = [video(), image(), sound, paper]
    names = [MediaName("x", medium.loc) for medium in media]
    takes = Capabilities(delivery=("file",), images=("webp",), audio=("mp3",), pdfs=True)
    assert plan.parts(names, media, [], takes, DECODER) == [
        FilePart(media[0]),
        ImagePart(media[1]),
        AudioPart(sound),
        PdfPart(paper),
    ]
    decoded = Capabilities(delivery=("decoded",), images=("webp",), audio=("mp3",))
    parts = plan.parts(names[:3], media[:3], [], decoded, DECODER)
    assert parts == [DecodedPart(medium, DECODER) for medium in media[:3]]


def test_too_many_videos_are_refused_before_anything_is_fetched():
    names = [name("https://a.example/v.mp4", i) for i in range(3)]
    with pytest.raises(InputError) as caught:
        plan.links(names, Capabilities(delivery=("file",), max_videos=2))
    [problem] = caught.value.problems
    assert (problem.loc, problem.type) == (("body", "video_urls"), "sequence_too_long")
    assert problem.ctx["max_length"] == 2


def test_a_video_that_is_too_long_is_told_with_both_durations():
    limits = Capabilities(delivery=("file",), max_seconds=5)
    with pytest.raises(InputError) as caught:
        plan.parts([name("a")], [video(seconds=10.0)], [], limits, DECODER)
    [problem] = caught.value.problems
    assert problem.type == caught.value.type == "video_duration_too_long"
    assert problem.ctx == {"max_duration": 5, "provided_duration": 10.0}


def test_every_video_that_does_not_fit_is_told_at_its_own_place():
    limits = Capabilities(delivery=("file",), max_bytes=500)
    with pytest.raises(InputError) as caught:
        plan.parts([name("a"), name("b", 1)], [video(), video(1)], [], limits, DECODER)
    assert [(p.loc[-1], p.type, p.ctx) for p in caught.value.problems] == [
        (0, "file_too_large", {"max_size": 500}),
        (1, "file_too_large", {"max_size": 500}),
    ]


def test_a_video_of_unknown_length_is_let_through():
    limits = Capabilities(delivery=("file",), max_seconds=5)
    assert plan.parts([name("a")], [video(seconds=None)], [], limits, DECODER)


def test_the_parts_come_in_the_order_of_the_names_with_links_between_files():
    names = [name("a"), name(WATCH, 1), name("c", 2)]
    takes = Capabilities(delivery=("file", "link"))
    links = plan.links(names, takes)
    parts = plan.parts(names, [video(2), video(0)], links, takes, DECODER)
    assert parts == [FilePart(video(0)), links[0], FilePart(video(2))]


def test_a_model_that_takes_no_files_gets_the_video_decoded():
    takes = Capabilities(delivery=("decoded",))
    assert plan.parts([name("a")], [video()], [], takes, DECODER) == [DecodedPart(video(), DECODER)]


def test_of_a_video_that_was_decoded_no_more_is_claimed_than_that():
    """How much of it was used is told by the usage."""
    assert plan.describe(DecodedPart(video(), DECODER)) == {"as": "decoded"}


@given(
    sizes=st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**12)), max_size=6),
    max_videos=st.none() | st.integers(0, 6),
    max_seconds=st.none() | st.floats(0, 1e6),
    max_bytes=st.none() | st.integers(0, 10**12),
    delivery=st.lists(st.sampled_from(["file", "link", "decoded"]), max_size=3),
)
def test_nothing_that_is_planned_exceeds_a_limit(
    sizes, max_videos, max_seconds, max_bytes, delivery
):
    takes = Capabilities(
        delivery=tuple(delivery),
        max_videos=max_videos,
        max_seconds=max_seconds,
        max_bytes=max_bytes,
    )
    videos = [video(i, seconds=s, size=b) for i, (s, b) in enumerate(sizes)]
    names = [name("a", i) for i in range(len(videos))]
    try:
        parts = plan.parts(names, videos, plan.links(names, takes), takes, DECODER)
    except InputError as error:
        assert error.problems
        return
    assert max_videos is None or len(parts) <= max_videos
    assert [part.media for part in parts] == videos
    assert all(max_seconds is None or part.media.seconds <= max_seconds for part in parts)
    assert all(max_bytes is None or part.media.bytes <= max_bytes for part in parts)
    assert all(plan.describe(part)["as"] in delivery for part in parts)
