import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.providers.local_prompt import understand
from telecine.providers.local_wish import Span, Wish

EVERYTHING = ("speech", "text", "shots")


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", EVERYTHING),
        ("Describe this video", EVERYTHING),
        ("What is happening here?", EVERYTHING),
        ("Please transcribe the videos respectively.", ("speech",)),
        ("What does the man say?", ("speech",)),
        ("subtitles", ("speech",)),
        ("List the on-screen text", ("text",)),
        ("What words are on the screen?", ("text",)),
        ("OCR the slides", ("text",)),
        ("What is written on the screen?", ("text",)),
        ("What stands on the screen?", ("text",)),
        ("What is said, and what is shown on the screen?", ("speech", "text")),
        ("Extract the captions", ("text",)),
        ("scene changes", ("shots",)),
        ("the speech and the cuts", ("speech", "shots")),
        ("Transcribe the speech and read the text on the screen", ("speech", "text")),
        ("Report without shots", ("speech", "text")),
        ("Read the text, ignore the speech", ("text",)),
        ("Transkribiere das Video", ("speech",)),
        ("Transcribe el vídeo", ("speech",)),
        ("Transcrivez la vidéo s'il vous plaît", ("speech",)),
        ("Trascrivi il video", ("speech",)),
        ("Transcreva o vídeo", ("speech",)),
        ("この動画を文字起こししてください", ("speech",)),
        ("画面の文字", ("text",)),
        ("请转录这个视频", ("speech",)),
        ("Generate captions", ("speech",)),
        ("closed captions in VTT", ("speech",)),
        ("Generate SRT captions", ("speech",)),
        ("the on-screen captions", ("text",)),
        ("the captions on the screen as SRT", ("text",)),
        ("Do not include speech", ("text", "shots")),
        ("Don't include the speech", ("text", "shots")),
        ("Don\u2019t give me any speech", ("text", "shots")),
        ("Describe the video. Do not mention the text.", ("speech", "shots")),
        ("Don't transcribe, only read the text", ("text",)),
        ("No speech or shots", ("text",)),
        ("Convert this video to text", EVERYTHING),
        ("Video to text", EVERYTHING),
        ("a text summary of the video", EVERYTHING),
        ("speech to text", ("speech",)),
        ("speech-to-text", ("speech",)),
        ("Describe the scene", EVERYTHING),
        ("Describe the scene in detail", EVERYTHING),
        ("le scene del video", ("shots",)),
        ("Suggest three titles", EVERYTHING),
        ("Cut the video into chapters", EVERYTHING),
        ("where is each cut", ("shots",)),
        ("Only the Spanish speech", ("speech",)),
        ("only the English parts", EVERYTHING),
    ],
)
def test_a_prompt_picks_parts(prompt, parts):
    assert understand(prompt).parts == parts


@pytest.mark.parametrize(
    ("prompt", "span"),
    [
        ("Transcribe from 0:05 to 0:09", Span(5, 9)),
        ("between 5s and 9s", Span(5, 9)),
        ("from 5 to 9 seconds", Span(5, 9)),
        ("from 1 to 2 minutes", Span(60, 120)),
        ("from 1:02:03 to 1:02:04.5", Span(3723, 3724.5)),
        ("0:10-0:20", Span(10, 20)),
        ("the first 10 seconds", Span(0, 10)),
        ("first ten seconds", Span(0, 10)),
        ("the first minute", Span(0, 60)),
        ("the last minute", Span(-60)),
        ("after 1:00", Span(60)),
        ("before 1:30", Span(0, 90)),
        ("the last 5 seconds", Span(-5)),
        ("von 0:05 bis 0:09", Span(5, 9)),
        ("from 5 to 9", Span()),
        ("from 0:09 to 0:05", Span()),
        ("the last 0 seconds", Span()),
        ("in 1961", Span()),
        ("transcribe seconds 2 to 4", Span(2, 4)),
        ("between seconds 2 and 4", Span(2, 4)),
        ("from second 2 to second 4", Span(2, 4)),
        ("minutes 1-2", Span(60, 120)),
    ],
)
def test_a_prompt_picks_a_time_range(prompt, span):
    assert understand(prompt).span == span


def test_the_end_of_a_clip_is_counted_from_its_length():
    assert Span(-5).within(11) == Span(6, 11)
    assert Span(-50).within(11) == Span(0, 11)
    assert Span(-5).within(None) is None


@pytest.mark.parametrize(
    ("prompt", "form"),
    [
        ("transcribe", "plain"),
        ("transcribe with timestamps", "report"),
        ("when does she speak", "report"),
        ("speech and text", "report"),
        ("speech and on-screen text, text only, no timestamps", "plain"),
        ("as SRT", "srt"),
        ("a .srt file", "srt"),
        ("WebVTT subtitles", "vtt"),
        ("Answer in JSON", "json"),
        ("scenes", "report"),
        ("Transcribe. Do not include timestamps.", "plain"),
    ],
)
def test_a_prompt_picks_a_form(prompt, form):
    assert understand(prompt).form == form


def test_subtitle_files_hold_speech_unless_the_screen_is_named():
    assert understand("srt").parts == ("speech",)
    assert understand("srt of the on-screen text").parts == ("text",)
    assert understand("vtt of the speech and the slides").parts == ("speech", "text")
    assert understand("srt", ("text",)).parts == ("text",)


@pytest.mark.parametrize(
    ("prompt", "language", "is_filter"),
    [
        ("transcribe the Spanish audio", "es", False),
        ("auf Deutsch transkribieren", "de", False),
        ("only the German part", "de", True),
        ("the French speech", "fr", True),
        ("only Japanese", "ja", True),
        ("language: pt", "pt", False),
        ("transcribe", None, False),
        ("translate the speech into French", None, False),
        ("Only the Spanish speech", "es", True),
        ("Polish the transcript", None, False),
        ("transcribe the Polish speech", "pl", True),
        ("Answer in English", None, False),
        ("Answer in English only.", None, False),
        ("Respond in plain English", None, False),
        ("Transcribe the video and describe it in German", None, False),
        ("Describe the video in detail, in Spanish", None, False),
        ("Antworte auf Deutsch", None, False),
        ("Réponds en français", None, False),
        ("日本語で答えてください", None, False),
        ("Transcribe the Spanish audio. Answer in English.", "es", False),
        ("Transcribe the English audio. Answer in English.", "en", False),
        ("Write a transcript in Spanish", "es", False),
    ],
)
def test_a_prompt_picks_a_language(prompt, language, is_filter):
    wish = understand(prompt)
    assert (wish.language, wish.is_filter) == (language, is_filter)


@pytest.mark.parametrize(
    "prompt",
    [
        "Please transcribe the videos respectively.",
        "Only the English parts",
        "Give me the on-screen text and the cuts of each video as JSON",
        "Transcribe from 0:05 to 0:09 with timestamps",
        "Bitte transkribiere das Video auf Deutsch",
        "Convert all 3 videos to text",
        "Only the Spanish speech",
        "transcribe seconds 2 to 4",
        "Do not include speech",
        "この動画を文字起こししてください",
    ],
)
def test_a_prompt_that_is_all_understood_leaves_nothing(prompt):
    assert understand(prompt).left == ()


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("Transcribe the speech and summarise it", ("summarise",)),
        ("translate the speech into French", ("translate", "into", "french")),
        ("Describe this video", ("describe",)),
        ("What is said at 00:00:05?", ("00:00:05",)),
        ("Transcribe from 5 to 9", ("5", "9")),
        ("Transcribe video 2", ("2",)),
        ("Answer in English", ("answer", "english")),
        ("Polish the transcript", ("polish",)),
        ("Suggest three titles", ("suggest", "titles")),
        ("Cut the video into chapters", ("cut", "into", "chapters")),
        ("a text summary of the video", ("summary",)),
    ],
)
def test_what_cannot_be_done_is_left_over(prompt, left):
    assert understand(prompt).left == left


def test_a_part_that_the_model_does_not_do_is_left_over():
    wish = understand("read the text and transcribe", ("speech",))
    assert wish.parts == ("speech",)
    assert "read the text" in wish.left


def test_a_long_question_does_not_pick_parts_by_accident():
    prompt = "How many times does the tall goalkeeper in green kick after somebody cuts the rope?"
    assert understand(prompt).parts == EVERYTHING


@given(st.text(max_size=300))
def test_any_prompt_is_understood_somehow(prompt):
    wish = understand(prompt)
    assert isinstance(wish, Wish)
    assert wish.parts
    assert wish.span.end is None or wish.span.end > wish.span.start


def test_a_very_long_prompt_is_not_searched_to_its_end():
    assert understand("a " * 4_000_000 + "transcribe").parts == EVERYTHING
