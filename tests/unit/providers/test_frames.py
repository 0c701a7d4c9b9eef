import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.models import Call, FilePart, FramesPart, Still, Video, Words
from telecine.providers.frames import heading, parts, timeline, transcript

CLIP = Video(
    index=0,
    found="data",
    origin="data URI",
    loc=("body", "video_url"),
    path=Path("clip"),
    bytes=1,
    sha256="",
    mime="video/mp4",
    container="mp4",
    seconds=10.0,
)


def film(*seconds, words=()):
    made = tuple(Still(second, Path(f"{n}.jpg"), 1, 640, 360) for n, second in enumerate(seconds))
    return FramesPart(CLIP, made, tuple(Words(*said) for said in words))


def told(part):
    return [item if isinstance(item, str) else item.path.name for item in timeline(part)]


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        ((0, 61.9), ["[00:00]", "[01:01]"]),
        ((59.96, 3599), ["[00:59]", "[59:59]"]),
        ((5, 3600), ["[00:00:05]", "[01:00:00]"]),
        ((1.0, 1.5, 2.0), ["[00:01.0]", "[00:01.5]", "[00:02.0]"]),
        ((0.1, 0.3), ["[00:00.1]", "[00:00.3]"]),
        ((-0.04,), ["[00:00]"]),
    ],
)
def test_labels_are_as_fine_as_the_stills_need(seconds, labels):
    assert [item for item in told(film(*seconds)) if item.startswith("[")] == labels


def test_words_come_after_the_stills_of_their_time():
    part = film(0, 2, 4, words=((0, 2, "a"), (1, 3, "b"), (3, 9, "c"), (9, 12, "d")))
    assert told(part) == [
        "[00:00]",
        "0.jpg",
        "Said 00:00-00:02: a",
        "[00:02]",
        "1.jpg",
        "Said 00:01-00:03: b",
        "[00:04]",
        "2.jpg",
        "Said 00:03-00:09: c",
        "Said 00:09-00:12: d",
    ]


def test_hours_in_the_words_alone_are_told_as_well():
    assert transcript(film(0, words=((3600, 3601, "late"),))) == "Said 01:00:00-01:00:01: late"


times = st.lists(st.floats(0, 20_000), max_size=30).map(sorted)


@given(times, times)
def test_nothing_is_lost_and_all_stays_in_order(seconds, ends):
    part = film(*seconds, words=[(end, end, f"w{n}") for n, end in enumerate(ends)])
    items = told(part)
    assert [item for item in items if item.endswith(".jpg")] == [
        f"{n}.jpg" for n in range(len(seconds))
    ]
    said = [item.rpartition(" ")[2] for item in items if item.startswith("Said")]
    assert said == [f"w{n}" for n in range(len(ends))]
    labels = [item for item in items if re.fullmatch(r"\[[\d:.]+\]", item)]
    assert labels == sorted(labels)


@given(times)
def test_every_picture_has_a_text_before_it(seconds):
    part = film(*seconds)
    call = Call(request_id="r", model="m", prompt="p", parts=(part,))
    made = [each["type"] for each in parts(part, call, says_detail=False)]
    assert made.count("image_url") == len(seconds)
    assert made == ["text", "image_url"] * len(seconds) or made == ["text"]


def test_the_number_of_a_video_counts_all_videos_of_the_call():
    second = film(0)
    call = Call(request_id="r", model="m", prompt="p", parts=(FilePart(CLIP), second))
    assert heading(second, call).startswith("Video 2")
