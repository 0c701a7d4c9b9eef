import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telecine.errors import InputError, TooLarge
from telecine.media import budget, plan
from telecine.media.plan import Span, Transform
from telecine.models import (
    Capabilities,
    DecodedPart,
    FilePart,
    FramesPart,
    Image,
    LinkPart,
    MediaName,
    Prepared,
    Still,
    TokenRates,
    Video,
    View,
    Words,
)

ID = "dQw4w9WgXcQ"
WATCH = f"https://www.youtube.com/watch?v={ID}"
DECODER = object()


def name(text, index=0):
    return MediaName(text, ("body", "video_urls", index), index=index)


def video(index=0, *, seconds=10.0, size=1000, **facts):
    base = {
        "index": index,
        "found": "url",
        "origin": "https://example.com/v.mp4",
        "loc": ("body", "video_urls", index),
        "path": Path("/nowhere"),
        "bytes": size,
        "sha256": "0" * 64,
        "container": "mp4",
        "mime": "video/mp4",
        "seconds": seconds,
        "width": 1280,
        "height": 720,
        "fps": 25.0,
        "video_codec": "h264",
        "audio_codec": "aac",
    }
    return Video(**{**base, **facts})


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
        plan.make(names, [image()], [], takes, View(), model="m")
    [problem] = caught.value.problems
    assert (problem.type, problem.loc) == ("unsupported_image_format", ("body", "image_urls", 0))
    assert problem.ctx == {"supported_formats": ["png", "jpeg"]}


def test_too_many_videos_are_refused_before_anything_is_fetched():
    names = [name("https://a.example/v.mp4", i) for i in range(3)]
    with pytest.raises(InputError) as caught:
        plan.links(names, Capabilities(delivery=("file",), max_videos=2))
    [problem] = caught.value.problems
    assert (problem.loc, problem.type) == (("body", "video_urls"), "sequence_too_long")
    assert problem.ctx["max_length"] == 2


GEMINI = TokenRates(frame={"low": 66, "medium": 258, "high": 258}, audio_second=32.0, image=258)


def made(videos=None, *, view=None, names=None, **takes):
    """The plan for some videos, on a route that takes `takes`."""
    options = {k: takes.pop(k) for k in ("strict", "refused", "prompt", "max_tokens") if k in takes}
    videos = [video()] if videos is None else videos
    names = names or [name("https://a.example/v.mp4", i) for i in range(len(videos))]
    capabilities = Capabilities(**({"delivery": ("file",)} | takes))
    view = view or View()
    links = plan.links(names, capabilities, "some/model", view)
    return plan.make(names, videos, links, capabilities, view, model="some/model", **options)


def only(videos=None, **more):
    [one] = made(videos, **more).videos
    return one


def refused(videos=None, **more):
    with pytest.raises(InputError) as caught:
        made(videos, **more)
    return [(problem.loc, problem.type) for problem in caught.value.problems]


# ---------------------------------------------------------------- which form


def test_a_file_that_fits_is_sent_as_it_is():
    one = only(max_bytes=1000, max_seconds=10)
    assert (one.form, one.transform, one.view) == ("file", None, View())


def test_the_first_form_that_fits_without_work_comes_before_one_that_fits_with_it():
    assert only(delivery=("file", "url"), max_bytes=1000).form == "file"
    webm = video(container="webm")
    limits = {"containers": ("mp4",), "delivery": ("file", "frames")}
    assert only([webm], **limits).form == "file"
    assert only([webm], **limits).transform == Transform()
    assert only(delivery=("url", "file"), view=View(start=2)).transform == Transform(
        start=2, end=10.0
    )


def test_an_address_is_passed_on_only_if_it_is_one_of_another_host():
    upload = video(found="upload")
    assert only(delivery=("url", "file")).form == "url"
    assert only([upload], delivery=("url", "file")).form == "file"
    assert refused([upload], delivery=("url",)) == [
        (("body", "video_urls", 0), "feature_not_supported")
    ]


def test_an_address_with_a_password_in_it_is_never_passed_on():
    names = [name("https://me:secret@a.example/v.mp4")]
    assert only(names=names, delivery=("url", "file")).form == "file"


def test_a_link_that_was_fetched_here_is_sent_as_the_file_it_became():
    names = [name(WATCH)]
    takes = Capabilities(delivery=("url", "file"))
    made = plan.make(names, [video()], [], takes, View(), model="m")
    assert made.videos[0].form == "file"


def test_a_form_that_was_refused_before_is_not_tried_again():
    takes = {"delivery": ("url", "file", "frames")}
    assert only(**takes, refused=frozenset({"url"})).form == "file"
    assert only(**takes, refused=frozenset({"url", "file"})).form == "frames"
    every = frozenset({"url", "file", "frames"})
    assert refused(**takes, refused=every) == [(("body", "video_urls", 0), "feature_not_supported")]


def test_a_model_that_takes_images_only_is_shown_stills():
    one = only(delivery=("frames",), images=("png", "jpeg"))
    assert one.form == "frames"
    assert one.sampling.with_words


def test_stills_that_the_operator_prefers_come_before_the_file():
    assert only(delivery=("frames", "file")).form == "frames"


def test_a_model_that_runs_here_gets_the_video_opened_with_everything_that_was_asked():
    view = View(start=1, end=2, fps=3, audio=False)
    one = only(delivery=("decoded",), view=view)
    assert (one.form, one.view, one.transform) == ("decoded", view, None)


# ---------------------------------------------------------------- options


def test_what_the_route_can_be_told_is_told_and_not_done_here():
    view = View(fps=0.5, start=1, end=5, max_frames=3, resolution="low", audio=False)
    every = frozenset(("fps", "start", "end", "max_frames", "resolution", "audio"))
    one = only(options=every, view=view, hears=True)
    assert (one.view, one.transform) == (view, None)


def test_what_it_can_not_be_told_is_done_here():
    view = View(fps=0.5, start=1, end=5, resolution="low", audio=False)
    one = only(view=view, hears=True)
    assert one.view == View()
    assert one.transform == Transform(start=1, end=5, fps=0.5, max_side=448, without_audio=True)
    assert made(view=view, hears=True).warnings == ()


def test_a_start_that_can_be_told_without_an_end_that_can_is_cut_here():
    one = only(view=View(start=1, end=5), options=frozenset({"start"}))
    assert (one.view, one.transform) == (View(), Transform(start=1, end=5))


def test_a_number_of_frames_is_told_as_a_rate_where_only_that_can_be_told():
    assert only(view=View(max_frames=5), options=frozenset({"fps"})).view == View(fps=0.5)
    assert only(view=View(max_frames=50), options=frozenset({"fps"})).view == View()


def test_a_number_of_frames_that_can_not_be_told_leaves_no_more_in_the_file():
    one = only(view=View(max_frames=4))
    assert one.transform.fps == pytest.approx(0.4)
    assert one.transform.end == 10.0


def test_sound_is_taken_out_only_where_somebody_would_hear_it():
    silent = video(audio_codec=None)
    assert only(view=View(audio=False), hears=False).transform is None
    assert only([silent], view=View(audio=False), hears=True).transform is None


@pytest.mark.parametrize(
    ("view", "takes", "option"),
    [
        (View(fps=5), {}, "fps"),
        (View(audio=True), {"hears": False}, "audio"),
        (View(fps=0.5), {"delivery": ("url",)}, "fps"),
        (View(start=1), {"delivery": ("url",)}, "start"),
        (View(end=1), {"delivery": ("url",)}, "end"),
        (View(max_frames=1), {"delivery": ("url",)}, "max_frames"),
        (View(resolution="low"), {"delivery": ("url",)}, "resolution"),
        (View(audio=False), {"delivery": ("url",), "hears": True}, "audio"),
    ],
)
def test_what_nobody_can_honour_is_a_warning_and_with_strict_a_refusal(view, takes, option):
    [warning] = made(view=view, **takes).warnings
    assert warning.startswith(f"{option} is ignored: ")
    assert refused(view=view, strict=True, **takes) == [(("body", option), "feature_not_supported")]


def test_a_model_is_sent_no_stills_that_it_is_not_said_to_take():
    """As an operator may say of it, though it takes images."""
    takes = {"delivery": (), "images": ("jpeg",)}
    assert refused(**takes) == [(("body", "video_urls", 0), "feature_not_supported")]


def test_a_declared_form_that_honours_everything_comes_before_one_that_does_not():
    takes = {"delivery": ("file", "frames"), "context_tokens": 1_000_000}
    assert only(view=View(fps=5), **takes).form == "frames"
    one = only(view=View(fps=5), strict=True, **takes)
    assert (one.form, len(one.sampling.times)) == ("frames", 50)


@pytest.mark.parametrize(
    ("view", "loc"),
    [
        (View(start=10), "start"),
        (View(start=99), "start"),
        (View(end=11), "end"),
        (View(start=5, end=5), "end"),
        (View(start=5, end=4), "end"),
    ],
)
@pytest.mark.parametrize("options", [frozenset(), frozenset({"start", "end"})])
def test_a_stretch_that_is_not_in_the_clip_is_refused_at_the_field(view, loc, options):
    assert refused(view=view, options=options) == [(("body", loc), "value_error")]


def test_an_end_a_moment_after_that_of_the_clip_is_its_end():
    assert only(view=View(end=10.3)).end == 10.0


# ---------------------------------------------------------------- links


def test_a_time_mark_is_a_start_where_the_route_honours_one():
    options = frozenset({"start", "end"})
    takes = Capabilities(delivery=("link",), options=options)
    [link] = plan.links([name(f"https://youtu.be/{ID}?t=1m30s")], takes)
    assert (link.url, link.view) == (WATCH, View(start=90.0))


def test_what_the_caller_says_comes_before_the_time_mark():
    takes = Capabilities(delivery=("link",), options=frozenset({"start"}))
    [link] = plan.links([name(f"https://youtu.be/{ID}?t=90")], takes, "m", View(start=5))
    assert (link.url, link.view) == (WATCH, View(start=5))


def test_of_a_link_that_nothing_can_be_told_about_every_option_is_a_warning():
    said = made([], names=[name(WATCH)], delivery=("link",), view=View(fps=1, end=5)).warnings
    assert [warning.partition(" ")[0] for warning in said] == ["fps", "end"]


def test_a_link_that_can_be_fetched_here_is_no_part_for_a_model_that_takes_none():
    takes = Capabilities(delivery=("file",))
    assert plan.links([name(WATCH)], takes, "m", downloads=True) == []


def test_videos_and_links_are_planned_in_the_order_of_their_names():
    names = [name("a"), name(WATCH, 1), name("c", 2)]
    videos = [video(2), video(0)]
    forms = [v.form for v in made(videos, names=names, delivery=("file", "link")).videos]
    assert forms == ["file", "link", "file"]


# ---------------------------------------------------------------- limits


def test_a_file_that_is_too_large_is_made_smaller():
    one = only([video(size=50_000_000, seconds=60.0)], max_bytes=10_000_000)
    assert one.transform.max_bytes == 10_000_000
    assert "50000000 bytes" in " ".join(one.why)


def test_a_request_has_room_for_base64_of_all_its_videos_and_images():
    videos = [video(i, size=4_000_000, seconds=20.0) for i in range(2)]
    takes = {"max_request_bytes": 6_000_000, "images": ("webp",)}
    names = [*(name("a", i) for i in range(2)), MediaName("i", ("body", "image_urls", 0), "image")]
    sent = made([*videos, image(bytes=1_000_000)], names=names, **takes).videos
    most = [one.transform.max_bytes for one in sent]
    assert sum(map(budget.base64_bytes, most)) + budget.base64_bytes(1_000_000) < 6_000_000


def test_small_videos_leave_what_they_do_not_need_to_large_ones():
    videos = [video(0, size=100_000), video(1, size=9_000_000)]
    small, large = made(videos, max_request_bytes=8_000_000).videos
    assert small.transform is None
    assert large.transform.max_bytes > 5_000_000


def test_a_file_that_can_not_be_made_as_small_as_that_is_told_with_the_limit():
    with pytest.raises(TooLarge) as caught:
        made([video(), video(1)], max_bytes=500)
    assert [(p.loc[-1], p.type, p.ctx) for p in caught.value.problems] == [
        (0, "file_too_large", {"max_size": 500}),
        (1, "file_too_large", {"max_size": 500}),
    ]


def test_a_container_that_the_route_does_not_take_is_converted():
    mpeg = video(container="mpeg")
    assert only([mpeg], containers=("mp4", "webm")).transform == Transform()
    assert refused([mpeg], containers=("webm",)) == [
        (("body", "video_urls", 0), "unsupported_video_format")
    ]


def test_a_video_of_unknown_length_is_let_through():
    assert only([video(seconds=None)], max_seconds=5).form == "file"


def test_a_video_of_unknown_length_is_still_cut_where_that_is_asked():
    one = only([video(seconds=None)], view=View(end=5))
    assert one.transform == Transform(start=0.0, end=5)


SAMPLES = {
    "fps": 2.0,
    "max_sampled_frames": 768,
    "rates": TokenRates(frame={"medium": 256}),
    "options": {"fps", "max_frames"},
}


def test_no_more_pictures_are_counted_than_the_model_looks_at():
    assert only([video(seconds=100.0)], **SAMPLES).tokens == 200 * 256
    assert only([video(seconds=3600.0)], **SAMPLES).tokens == 768 * 256
    few = only([video(seconds=3600.0)], view=View(max_frames=10), **SAMPLES)
    assert few.tokens == 10 * 256


def test_an_hour_that_the_model_samples_sparsely_is_one_call_that_says_how_sparsely():
    long = made([video(seconds=3600.0)], context_tokens=256_000, **SAMPLES)
    assert long.spans == ()
    [one] = long.videos
    assert "some/model looks at 768 pictures at most, here one every 4.7 s" in one.why
    assert len(only([video(seconds=384.0)], **SAMPLES).why) == len(one.why) - 1


def test_a_rate_that_the_model_can_not_keep_up_is_a_warning_and_strictly_a_refusal():
    hour, view = [video(seconds=3600.0)], View(fps=1)
    says = "fps is ignored: some/model looks at 768 pictures at most, here one every 4.7 s"
    assert made(hour, view=view, **SAMPLES).warnings == (says,)
    assert made([video(seconds=700.0)], view=view, **SAMPLES).warnings == ()
    assert refused(hour, view=view, strict=True, **SAMPLES) == [
        (("body", "fps"), "feature_not_supported")
    ]


def test_a_longer_video_than_the_route_takes_is_asked_about_in_stretches():
    long = made([video(seconds=95.0)], max_seconds=30)
    assert [(s.start, s.end) for s in long.spans] == [
        (0.0, 23.75),
        (23.75, 47.5),
        (47.5, 71.25),
        (71.25, 95.0),
    ]
    part = plan.for_span(long, long.spans[1])
    assert part.spans == ()
    assert part.videos[0].transform == Transform(start=23.75, end=47.5)


def test_an_address_alone_can_not_be_cut_into_stretches():
    with pytest.raises(TooLarge) as caught:
        made([video(seconds=95.0)], max_seconds=30, delivery=("url",))
    assert caught.value.problems[0].ctx == {"max_duration": 30, "provided_duration": 95.0}


def test_a_video_past_the_window_is_asked_about_in_stretches_that_fit():
    takes = {"rates": GEMINI, "hears": True, "context_tokens": 100_000, "delivery": ("url", "file")}
    long = made([video(seconds=3600.0)], **takes)
    parts = [plan.for_span(long, span) for span in long.spans]
    assert len(parts) >= 12
    assert all(part.tokens < 100_000 for part in parts)
    assert {part.videos[0].form for part in parts} == {"file"}


def test_an_hour_of_stills_is_asked_about_five_minutes_at_a_time_with_anchors():
    long = made(
        [video(seconds=3600.0)], delivery=("frames",), images=("jpeg",), context_tokens=200_000
    )
    assert len(long.spans) == 12
    stills = plan.for_span(long, long.spans[3]).videos[0].sampling
    assert (len(stills.times), stills.max_side) == (64, 512)
    assert all(900 < at < 1200 for at in stills.times)
    last = plan.anchors(long).videos[0].sampling
    assert len(last.times) == 20
    assert (last.times[0], last.times[-1]) == (90.0, 3510.0)


def test_few_stills_of_a_long_video_are_one_call():
    one = made(
        [video(seconds=3600.0)], delivery=("frames",), images=("jpeg",), view=View(max_frames=10)
    )
    assert (one.spans, len(one.videos[0].sampling.times)) == ((), 10)


def test_a_number_of_frames_is_shared_out_among_the_stretches():
    every = {"delivery": ("frames",), "images": ("jpeg",), "view": View(max_frames=600)}
    long = made([video(seconds=3000.0)], **every)
    counts = [len(plan.for_span(long, s).videos[0].sampling.times) for s in long.spans]
    assert sum(counts) <= 600


def test_no_anchors_are_sent_to_a_model_that_takes_no_images():
    long = made([video(seconds=95.0)], max_seconds=30)
    assert plan.anchors(long).videos == ()


def test_text_that_leaves_no_room_is_what_is_refused():
    takes = {"rates": GEMINI, "context_tokens": 2_000, "prompt": "word " * 2000}
    assert refused(**takes) == [(("body", "prompt"), "context_length_exceeded")]


# ---------------------------------------------------------------- stills


@pytest.mark.parametrize(
    ("context", "seconds", "count", "side"),
    [
        (200_000, 60.0, 30, 768),
        (1_000_000, 600.0, 64, 768),
        (128_000, 600.0, 32, 512),
        (None, 600.0, 32, 512),
        (16_000, 600.0, 11, 448),
    ],
)
def test_the_window_tells_how_many_stills_and_how_large(context, seconds, count, side):
    silent = video(seconds=seconds, audio_codec=None)
    taken = only([silent], delivery=("frames",), images=("jpeg",), context_tokens=context).sampling
    assert (len(taken.times), taken.max_side) == (count, side)


def test_stills_are_the_middles_of_equal_slices_of_the_stretch():
    one = only(delivery=("frames",), images=("jpeg",), view=View(start=2, end=6, max_frames=4))
    assert one.sampling.times == (2.5, 3.5, 4.5, 5.5)


def test_stills_keep_to_the_number_size_and_bytes_that_the_route_takes():
    takes = {"max_images": 7, "max_image_side": 300, "max_image_bytes": 9_000}
    taken = only(delivery=("frames",), images=("jpeg",), **takes).sampling
    assert (len(taken.times), taken.max_side, taken.max_bytes) == (7, 300, 9_000)


def test_more_stills_than_fit_are_a_warning():
    asked = made(delivery=("frames",), images=("jpeg",), view=View(fps=20), max_images=10)
    assert len(asked.videos[0].sampling.times) == 10
    assert asked.warnings == (
        "fps is ignored: 200 stills are more than the 10 that can be sent: there are 1 a second",
    )


def test_images_of_the_caller_count_among_those_that_a_route_takes():
    names = [name("a"), MediaName("i", ("body", "image_urls", 0), "image")]
    media = [video(), image(format="jpeg")]
    one = only(media, names=names, delivery=("frames",), images=("jpeg",), max_images=4)
    assert len(one.sampling.times) == 3


# ---------------------------------------------------------------- told


def test_tokens_are_those_of_frames_sound_and_text():
    asked = made(rates=GEMINI, hears=True, prompt="x" * 40)
    assert asked.tokens == 10 + 10 * 258 + 320
    assert made().tokens is None


def test_a_plan_is_shown_as_plain_json():
    view = View(start=1, fps=0.5)
    told = plan.shown(made(view=view, options=frozenset({"fps"})))
    assert json.loads(json.dumps(told)) == told
    [one] = told["videos"]
    assert (one["as"], one["view"], one["work"]) == ("file", {"fps": 0.5}, {"start": 1, "end": 10})
    assert told["segments"] == []


def test_a_receipt_says_what_was_made_of_a_file():
    smaller = Prepared(
        path=Path("b"),
        bytes=10,
        sha256="b" * 64,
        mime="video/mp4",
        container="mp4",
        seconds=4.0,
        width=320,
        height=180,
        fps=1.0,
        has_audio=False,
        start=2.0,
    )
    told = plan.describe(FilePart(video(), View(resolution="low"), smaller))
    assert told == {
        "as": "file",
        "bytes": 10,
        "mime": "video/mp4",
        "sha256": "b" * 64,
        "seconds": 4.0,
        "view": {"resolution": "low"},
        "prepared": {"start": 2.0, "width": 320, "height": 180, "fps": 1.0, "audio": False},
    }


def test_a_receipt_says_which_stills_were_sent():
    stills = (Still(0.5, Path("a"), 7, 320, 180), Still(1.5, Path("b"), 8, 320, 180))
    told = plan.describe(FramesPart(video(), stills, (Words(0, 1, "hi"),), 1.0))
    assert told == {
        "as": "frames",
        "frames": 2,
        "bytes": 15,
        "mime": "image/jpeg",
        "width": 320,
        "height": 180,
        "fps": 1.0,
        "times": [0.5, 1.5],
        "transcript": True,
    }


def test_of_a_video_that_was_decoded_no_more_is_claimed_than_that():
    """How much of it was used is told by the usage."""
    assert plan.describe(DecodedPart(video(), DECODER)) == {"as": "decoded"}


# ---------------------------------------------------------------- always


positive = st.floats(0.1, 20_000)
limits = st.none() | st.integers(1, 10**9)
capabilities = st.builds(
    Capabilities,
    delivery=st.lists(
        st.sampled_from(["file", "url", "frames", "decoded"]), max_size=3, unique=True
    ).map(tuple),
    images=st.sampled_from([(), ("png",), ("png", "jpeg")]),
    hears=st.booleans(),
    containers=st.sampled_from([("mp4",), ("mp4", "mov", "webm", "mpeg"), ("webm",)]),
    options=st.frozensets(
        st.sampled_from(["fps", "start", "end", "max_frames", "resolution", "audio"])
    ),
    max_videos=st.none() | st.integers(0, 4),
    max_seconds=st.none() | positive,
    max_sampled_frames=st.none() | st.integers(1, 1000),
    max_bytes=limits,
    max_request_bytes=limits,
    max_images=st.none() | st.integers(0, 200),
    max_image_bytes=st.none() | st.integers(1_000, 10**6),
    max_image_side=st.none() | st.integers(16, 4096),
    context_tokens=st.none() | st.integers(500, 2_000_000),
    max_output_tokens=st.none() | st.integers(1, 100_000),
    fps=st.sampled_from([0.5, 1.0, 2.0]),
    rates=st.sampled_from(
        [None, GEMINI, TokenRates(frame={"medium": 70}, image=1600, image_pixels=750.0)]
    ),
)
views = st.builds(
    View,
    fps=st.none() | st.floats(0.01, 30),
    start=st.none() | st.floats(0, 1000),
    end=st.none() | st.floats(0, 1000),
    max_frames=st.none() | st.integers(1, 300),
    resolution=st.sampled_from([None, "low", "medium", "high"]),
    audio=st.sampled_from([None, True, False]),
)
clips = st.lists(
    st.tuples(
        st.none() | positive,
        st.integers(1, 10**10),
        st.sampled_from(["mp4", "webm"]),
        st.sampled_from(["url", "upload"]),
        st.sampled_from([None, "aac"]),
        st.sampled_from([None, 0.2, 25.0]),
    ),
    min_size=1,
    max_size=3,
)


def request(takes, clips, view, *, strict=False):
    videos = [
        video(i, seconds=s, size=b, container=c, found=f, audio_codec=a, fps=r)
        for i, (s, b, c, f, a, r) in enumerate(clips)
    ]
    names = [name("https://a.example/v", i) for i in range(len(videos))]
    links = plan.links(names, takes, "m", view)
    return plan.make(names, videos, links, takes, view, model="m", prompt="hi", strict=strict)


def calls(whole):
    return [plan.for_span(whole, span) for span in whole.spans] or [whole]


def planned(takes, clips, view, **more):
    try:
        return request(takes, clips, view, **more)
    except InputError as error:
        assert error.problems
        return None


@settings(max_examples=200, deadline=None)
@given(capabilities, clips, views)
def test_no_call_of_a_plan_breaks_a_limit(takes, clips, view):
    whole = planned(takes, clips, view)
    for call in calls(whole) if whole else ():
        videos = {one.loc: one for one in call.basis.media}
        stills = [one.sampling for one in call.videos if one.form == "frames"]
        files = [one for one in call.videos if one.form == "file"]
        assert not call.spans
        assert all(one.form in takes.delivery or one.form == "frames" for one in call.videos)
        if takes.max_images is not None:
            assert sum(len(taken.times) for taken in stills) <= takes.max_images
        for taken in stills:
            assert taken.max_side <= (takes.max_image_side or taken.max_side)
            assert (taken.max_bytes or 0) <= (takes.max_image_bytes or 10**9)
        sizes = []
        for one in call.videos:
            if one.form not in ("file", "url"):
                continue
            clip, work = videos[one.loc], one.transform
            is_cut = work is not None and work.start is not None
            told = one.view.start is not None or one.view.end is not None
            if one.end is not None and takes.max_seconds is not None:
                seconds = one.end - one.start if is_cut or told else clip.seconds
                assert seconds is None or seconds <= takes.max_seconds + 0.002
            size = clip.bytes if work is None else work.max_bytes
            if takes.max_bytes is not None:
                assert size <= takes.max_bytes
            container = clip.container if work is None else "mp4"
            assert container in takes.containers
            sizes += [size] if one.form == "file" else []
        if takes.max_request_bytes is not None:
            sizes += [taken.max_bytes * len(taken.times) for taken in stills]
            assert sum(map(budget.base64_bytes, sizes)) <= takes.max_request_bytes
        if takes.context_tokens is not None and call.tokens is not None and files:
            assert call.tokens <= takes.context_tokens


@settings(max_examples=200, deadline=None)
@given(capabilities, clips, views)
def test_every_second_that_was_asked_about_is_looked_at(takes, clips, view):
    whole = planned(takes, clips, view)
    for one in whole.videos if whole else ():
        clip = whole.basis.media[one.index]
        ends = [end for end in (clip.seconds, view.end) if end is not None]
        start, end = view.start or 0.0, min(ends, default=None)
        assert (one.start, one.end) == (start, end)
        own = [span for span in whole.spans if span.index == one.index]
        if own and end is not None:
            assert (own[0].start, own[-1].end) == (start, end)
            assert all(a.end == b.start for a, b in itertools.pairwise(own))
        for span in own or [Span(one.index, start, end)]:
            part = plan.for_span(whole, span).videos[0] if own else one
            if part.form == "frames" and span.end is not None and end is not None:
                times, step = part.sampling.times, 1 / part.sampling.fps
                assert times[0] - span.start <= step + 0.001
                assert span.end - times[-1] <= step + 0.001
                assert all(b - a <= 1.01 * step + 0.002 for a, b in itertools.pairwise(times))
            elif part.transform is not None and part.transform.start is not None:
                cut = part.transform.start, part.transform.end
                assert cut == (span.start, None if span.end == math.inf else span.end)


@settings(max_examples=200, deadline=None)
@given(capabilities, clips, views)
def test_an_option_is_told_done_or_warned_of_and_strict_takes_no_warning(takes, clips, view):
    whole = planned(takes, clips, view)
    if whole is None:
        return
    strict = planned(takes, clips, view, strict=True)
    assert strict is None or strict.warnings == ()
    for call in calls(whole):
        for one in call.videos:
            for option in ("fps", "start", "end", "max_frames", "resolution", "audio"):
                wanted = getattr(view, option)
                is_seen_to = (
                    wanted is None
                    or one.form in ("frames", "decoded")
                    or getattr(one.view, option) is not None
                    or one.transform is not None
                    or any(f"{option} is ignored" in warning for warning in whole.warnings)
                )
                clip = call.basis.media[0 if whole.spans else one.index]
                assert is_seen_to or is_moot(option, wanted, one, clip, takes)


def is_moot(option, wanted, one, clip, takes):
    """Nothing has to be done for it: the video and the route are so already."""
    match option:
        case "fps":
            return (clip.fps is not None and clip.fps <= wanted) or wanted >= takes.fps
        case "max_frames":
            if one.end is None:
                return False
            frames = (one.end - one.start) * min(takes.fps, clip.fps or takes.fps)
            return one.view.fps is not None or frames <= wanted + 1
        case "start" | "end":
            return one.start == 0 and (one.end is None or one.end == clip.seconds)
        case "resolution":
            return budget.SIDES[wanted] >= 1280
        case "audio":
            return takes.hears if wanted else not (takes.hears and clip.has_audio)
    return False


@settings(max_examples=100, deadline=None)
@given(capabilities, clips, views)
def test_the_same_request_gets_the_same_plan(takes, clips, view):
    first, second = planned(takes, clips, view), planned(takes, clips, view)
    assert first == second
    if first:
        assert plan.shown(first) == plan.shown(second)
        assert [plan.for_span(first, s) for s in first.spans] == calls(second) or not first.spans
