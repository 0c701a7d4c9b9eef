from pathlib import Path

import pytest

from telecine.evidence import judge
from telecine.models import (
    DecodedPart,
    FilePart,
    FramesPart,
    Image,
    ImagePart,
    LinkPart,
    Still,
    Usage,
    Video,
    Words,
)

TEXT = "What happens in this video?"  # seven tokens or so


def loc(index):
    return ("body", "video_urls", index)


def video(index=0):
    return Video(
        index=index,
        found="url",
        origin="v",
        loc=loc(index),
        path=Path("v"),
        bytes=1,
        sha256="0" * 64,
        mime="video/mp4",
        container="mp4",
        seconds=10.0,
    )


def stills(index=0, said=()):
    shot = Still(0.0, Path("s"), 1, 10, 10)
    return FramesPart(video(index), (shot, shot), tuple(Words(0, 1, text) for text in said))


def picture():
    return ImagePart(
        Image(
            index=0,
            found="url",
            origin="i",
            loc=("body", "image_urls", 0),
            path=Path("i"),
            bytes=1,
            sha256="1" * 64,
            mime="image/png",
            format="png",
            width=1,
            height=1,
        )
    )


def usage(prompt_tokens, **by_modality):
    return Usage(prompt_tokens=prompt_tokens, by_modality=by_modality)


def verdict(part, told, *others, text=TEXT):
    return judge([part, *others], text, told).verdicts[loc(0)]


FILE = FilePart(video())
LINK = LinkPart("https://www.youtube.com/watch?v=aaaaaaaaaaa", loc(0))


@pytest.mark.parametrize("part", [FILE, LINK, LinkPart("https://x/v.mp4", loc(0), video=video())])
def test_video_tokens_prove_that_it_was_seen(part):
    assert verdict(part, usage(270, text=12, video=258)).seen == "yes"


def test_image_tokens_prove_that_stills_were_seen():
    assert verdict(stills(), usage(600, text=12, image=516)).seen == "yes"


def test_what_is_decoded_here_is_seen_whatever_the_figures_say():
    assert verdict(DecodedPart(video(), None), usage(0)).seen == "yes"


@pytest.mark.parametrize("part", [FILE, LINK])
def test_other_modalities_without_video_prove_that_it_was_not_seen(part):
    found = verdict(part, usage(12, text=12))
    assert found.seen == "no"
    assert "12 text" in found.says


def test_sound_alone_is_not_the_video():
    assert verdict(FILE, usage(332, text=12, audio=320)).seen == "no"


def test_a_video_that_is_counted_as_images_was_seen():
    assert verdict(FILE, usage(270, text=12, image=258)).seen == "yes"


def test_stills_that_are_counted_as_a_video_were_seen():
    assert verdict(stills(), usage(270, text=12, video=258)).seen == "yes"


def test_images_of_the_request_are_not_the_video():
    assert verdict(FILE, usage(270, text=12, image=258), picture()).seen == "no"


def test_stills_beside_images_prove_nothing():
    assert verdict(stills(), usage(270, text=12, image=258), picture()).seen == "unknown"


def test_a_zero_beside_a_count_of_text_alone_is_proof():
    assert verdict(FILE, usage(12, video=0)).seen == "no"


def test_a_zero_beside_a_larger_count_is_a_form_left_blank():
    found = verdict(FILE, usage(2700, video=0))
    assert (found.seen, found.is_doubtful) == ("unknown", False)


def test_a_count_of_text_alone_is_doubt_and_no_proof():
    found = verdict(FILE, usage(12))
    assert (found.seen, found.is_doubtful) == ("unknown", True)


def test_a_larger_count_that_tells_no_modalities_says_nothing():
    found = verdict(FILE, usage(270))
    assert (found.seen, found.is_doubtful) == ("unknown", False)


@pytest.mark.parametrize(("count", "is_doubtful"), [(30, True), (31, False)])
def test_the_line_is_at_one_and_a_half_estimates_and_twenty_more(count, is_doubtful):
    assert verdict(FILE, usage(count), text="x" * 28).is_doubtful is is_doubtful


def test_a_transcript_is_text_too():
    said = ["A long sentence that somebody says. " * 20]
    assert verdict(stills(said=said), usage(200)).is_doubtful
    assert not verdict(stills(), usage(200)).is_doubtful


def test_other_media_are_in_the_count_too():
    assert not verdict(FILE, usage(12), picture()).is_doubtful


def test_no_prompt_tokens_at_all_leave_everything_open():
    found = judge([FILE], TEXT, usage(0, video=0))
    assert found.is_low
    assert (found.verdicts[loc(0)].seen, found.unseen(strict=True)) == ("unknown", {})


def test_tokens_of_several_videos_prove_none_of_them():
    found = judge([FILE, FilePart(video(1))], TEXT, usage(528, text=12, video=516))
    assert {v.seen for v in found.verdicts.values()} == {"unknown"}
    assert "2 videos together" in found.verdicts[loc(1)].says


def test_a_video_and_stills_of_another_are_told_apart():
    found = judge([FILE, stills(1)], TEXT, usage(528, text=12, video=258, image=258))
    assert {v.seen for v in found.verdicts.values()} == {"yes"}


def test_of_several_videos_all_are_unseen_where_there_are_no_tokens_of_any():
    found = judge([FILE, FilePart(video(1))], TEXT, usage(12, text=12))
    assert set(found.unseen(strict=False)) == {loc(0), loc(1)}


def test_only_strict_acts_on_doubt():
    found = judge([FILE], TEXT, usage(12))
    assert found.unseen(strict=False) == {}
    assert set(found.unseen(strict=True)) == {loc(0)}


def test_a_request_without_videos_has_nothing_to_prove():
    assert judge([picture()], TEXT, usage(0)).verdicts == {}
