"""The provider itself, with a model that says what it is told to."""

import asyncio
import json
import threading
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from telecine.errors import (
    InputError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
)
from telecine.models import (
    AUDIO_FORMATS,
    IMAGE_FORMATS,
    Audio,
    AudioChunk,
    Call,
    DecodedPart,
    Delta,
    FilePart,
    Frame,
    Image,
    LinkPart,
    Log,
    Upstream,
    Usage,
    Video,
)
from telecine.processes import ChildDied, ChildFailed
from telecine.providers import local_report, local_weights
from telecine.providers.local import Local
from telecine.providers.local_engine import Loaded


class FakeEngine:
    """Hears a word per chunk of sound and reads a line per frame."""

    def __init__(self, *, languages=("en",), fails=None, at=None):
        self.languages = languages
        self.fails, self.at = fails, at
        self.asked = []
        self._turn = asyncio.Lock()

    @property
    def is_busy(self):
        return self._turn.locked()

    @asynccontextmanager
    async def job(self):
        async with self._turn:
            yield

    def _ask(self, what, *details):
        self.asked.append((what, *details))
        if what == self.at:
            raise self.fails

    async def load(self, engine):
        self._ask("load", engine)
        return Loaded({"speech": "whisper-base", "text": "PP-OCRv6 small"}[engine], "a wheel", 0.4)

    async def listen(self, language):
        self._ask("listen", language)

    async def hear(self, seconds, pcm):
        self._ask("hear", round(seconds, 3), len(pcm))
        language = self.languages[int(seconds) % len(self.languages)]
        said = {"start": seconds, "end": seconds + 1, "language": language}
        return [{**said, "text": f"word{seconds:g}"}]

    async def hush(self):
        self._ask("hush")
        return []

    async def look(self):
        self._ask("look")

    async def read(self, width, height, rgb):
        self._ask("read", width, height)
        return [{"text": "A TITLE", "score": 0.99, "top": 0.5, "left": 0.1}]

    async def close(self):
        self._ask("close")


class FakeDecoder:
    """A second of silence and a frame per second, for `seconds`; a cut every `cuts`."""

    def __init__(self, seconds=3, cuts=()):
        self.seconds, self.cuts = seconds, cuts
        self.closed = []

    async def audio(self, media):
        try:
            for second in range(self.seconds):
                yield AudioChunk(float(second), bytes(32_000))
        finally:
            self.closed.append("audio")

    async def picture(self, image, *, max_side):
        return Frame(0.0, 8, 6, bytes(144))

    async def frames(self, video, *, fps, max_side):
        try:
            for second in range(self.seconds):
                cuts = tuple(cut for cut in self.cuts if second - 1 < cut <= second)
                yield Frame(float(second), 4, 2, bytes(24), cuts)
        finally:
            self.closed.append("frames")


def clip(decoder=None, *, index=0, seconds=3.0, video_codec="h264", audio_codec="aac"):
    video = Video(
        index=index,
        found="url",
        origin="clip.mp4",
        loc=("body", "video_urls", index),
        path=Path("/nowhere"),
        bytes=10,
        sha256="ab",
        container="mp4",
        mime="video/mp4",
        seconds=seconds,
        video_codec=video_codec,
        audio_codec=audio_codec,
    )
    return DecodedPart(video, decoder or FakeDecoder())


def about(field, mime):
    return {
        "index": 0,
        "found": "url",
        "origin": "file",
        "loc": ("body", field),
        "path": Path("/nowhere"),
        "bytes": 10,
        "sha256": "ab",
        "mime": mime,
    }


def still():
    image = Image(**about("image_urls", "image/png"), format="png", width=8, height=6)
    return DecodedPart(image, FakeDecoder())


def sound(seconds=3.0):
    audio = Audio(**about("audio_url", "audio/mpeg"), format="mp3", seconds=seconds, codec="mp3")
    return DecodedPart(audio, FakeDecoder())


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.setattr(local_weights, "engines_missing", lambda *_: [])


def provider(engine=None):
    local = Local("local", weights_dir=None, threads=1)
    local._engine = engine or FakeEngine()
    return local


def call(prompt, *parts, model="report", **more):
    return Call(request_id="r", model=model, prompt=prompt, parts=parts, **more)


async def events(asked, engine=None):
    return [event async for event in provider(engine).generate(asked)]


def text(found):
    return "".join(event.text for event in found if isinstance(event, Delta))


def logs(found, level=None):
    return [e.message for e in found if isinstance(e, Log) and level in (None, e.level)]


def test_a_report_has_speech_text_and_shots(run):
    found = run(events(call("", clip(FakeDecoder(3, cuts=(1.5,))))))
    assert text(found) == (
        "Speech (en):\n"
        "  [00:00.0-00:01.0] word0\n"
        "  [00:01.0-00:02.0] word1\n"
        "  [00:02.0-00:03.0] word2\n"
        "On-screen text:\n"
        '  [00:00.0-00:02.0] "A TITLE"\n'
        "Shots: 2 (cut at 00:01.5)\n"
    )


def test_words_are_told_as_they_are_heard(run):
    async def first():
        engine = FakeEngine()
        async with aclosing(provider(engine).generate(call("", clip()))) as found:
            async for event in found:
                if isinstance(event, Delta):
                    return engine.asked[-1]
        return None

    assert run(first()) == ("hear", 0.0, 32_000)


def test_a_transcription_of_several_videos_is_a_block_each(run):
    parts = [clip(), clip(index=1)]
    found = run(events(call("Please transcribe the videos respectively.", *parts)))
    assert text(found) == (
        "Video 1 (3.0 s):\nword0 word1 word2\n\nVideo 2 (3.0 s):\nword0 word1 word2\n"
    )
    assert logs(found, "WARN") == []


def test_a_question_is_answered_with_a_warning_and_the_report(run):
    found = run(events(call("What colour is the car?", clip())))
    (warning,) = logs(found, "WARN")
    assert "do not follow prompts" in warning
    assert '"colour"' in warning
    assert "speech, on-screen text and shots" in warning
    assert "word0" in text(found)


@pytest.mark.parametrize("model", ["report", "transcribe", "read"])
def test_without_a_video_it_says_so_and_loads_nothing(run, model):
    engine = FakeEngine()
    found = run(events(call("Hello", model=model), engine))
    assert text(found).startswith(f"No video was given. local/{model} describes videos")
    assert engine.asked == []
    assert [e.finish_reason for e in found if isinstance(e, Upstream)] == ["stop"]


def test_usage_tells_words_frames_and_seconds_and_costs_nothing(run):
    found = run(events(call("the speech and the text", clip())))
    (usage,) = [event for event in found if isinstance(event, Usage)]
    assert usage.cost == Decimal(0)
    assert usage.cost_source == "free"
    assert usage.by_modality == {"text": 5, "video": 3, "audio": 3}
    assert usage.prompt_tokens == 5
    assert usage.completion_tokens == len(text(found).split())
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_words_of_a_long_prompt_are_counted_beside_the_event_loop(run, monkeypatch):
    counted_in = []

    def count(prompt):
        counted_in.append(threading.current_thread())
        return len(prompt)

    monkeypatch.setattr(local_report, "count", count)
    run(events(call("words " * 9)))
    [thread] = counted_in
    assert thread is not threading.main_thread()


def test_the_models_that_were_used_are_named(run):
    found = run(events(call("", clip())))
    (upstream,) = [event for event in found if isinstance(event, Upstream)]
    assert upstream.model == "whisper-base int8 + PP-OCRv6 small"
    assert upstream.provider == "local"
    assert "whisper-base from a wheel, SHA-256 as published, loaded in 0.4 s" in logs(found)


def test_transcribing_looks_at_no_frame(run):
    engine, decoder = FakeEngine(), FakeDecoder()
    run(events(call("", clip(decoder), model="transcribe"), engine))
    assert decoder.closed == ["audio"]
    assert ("load", "text") not in engine.asked


def test_shots_alone_load_no_model(run):
    engine = FakeEngine()
    found = run(events(call("scenes", clip(FakeDecoder(3, cuts=(0.5, 1.5)))), engine))
    assert text(found) == "Shots: 3 (cuts at 00:00.5, 00:01.5)\n"
    assert engine.asked == []


def test_a_time_range_is_cut_to_the_sample(run):
    engine = FakeEngine()
    asked = call("transcribe from 0:01.25 to 0:02.5", clip(FakeDecoder(9), seconds=9.0))
    run(events(asked, engine))
    assert [e for e in engine.asked if e[0] == "hear"] == [
        ("hear", 1.25, 24_000),
        ("hear", 2, 16_000),
    ]


def test_a_time_range_picks_frames_and_cuts(run):
    decoder = FakeDecoder(9, cuts=(0.5, 2.5, 3.5))
    found = run(events(call("text and shots from 1s to 3s", clip(decoder, seconds=9.0))))
    assert text(found) == (
        'On-screen text:\n  [00:01.0-00:02.0] "A TITLE"\nShots: 2 (cut at 00:02.5)\n'
    )
    assert decoder.closed == ["frames"]


def test_the_end_of_a_video_of_unknown_length_is_all_of_it(run):
    found = run(events(call("transcribe the last 2 seconds", clip(seconds=None))))
    assert text(found) == "word0 word1 word2\n"
    assert any("length is not known" in log for log in logs(found, "WARN"))


def test_a_time_range_past_the_end_says_where_it_ends_and_decodes_nothing(run):
    engine, decoder = FakeEngine(), FakeDecoder(11)
    asked = call("speech, text and shots after 1:00", clip(decoder, seconds=11.0))
    found = run(events(asked, engine))
    assert text(found) == (
        "Speech: none, it ends at 11.0 s\n"
        "On-screen text: none, it ends at 11.0 s\n"
        "Shots: none, it ends at 11.0 s\n"
    )
    assert logs(found, "WARN") == [
        "it ends at 11.0 s, before the time range: nothing of it is used"
    ]
    assert decoder.closed == []
    [usage] = [event for event in found if isinstance(event, Usage)]
    assert set(usage.by_modality) == {"text"}


def test_of_several_videos_only_those_that_are_too_short_have_nothing(run):
    parts = [clip(), clip(FakeDecoder(9), index=1, seconds=9.0)]
    found = run(events(call("Transcribe after 0:07", *parts)))
    assert text(found) == (
        "Video 1 (3.0 s):\n(speech: none, it ends at 3.0 s)\n\nVideo 2 (9.0 s):\nword7 word8\n"
    )
    assert logs(found, "WARN") == [
        "video 1: it ends at 3.0 s, before the time range: nothing of it is used"
    ]


def test_a_language_filter_keeps_that_language(run):
    engine = FakeEngine(languages=("en", "de"))
    found = run(events(call("transcribe only the German part", clip()), engine))
    assert text(found) == "word1\n"
    assert ("listen", "de") in engine.asked


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"audio_codec": None}, "Speech: no audio track\n"),
        ({"video_codec": None}, "On-screen text: no video track\nShots: no video track\n"),
    ],
)
def test_a_missing_track_is_said(run, facts, says):
    assert says in text(run(events(call("", clip(**facts)))))


def test_max_tokens_cuts_the_answer_and_stops_the_work(run):
    engine, decoder = FakeEngine(), FakeDecoder(600)
    found = run(events(call("transcribe", clip(decoder), max_tokens=2), engine))
    assert text(found) == "word0 word1"
    assert [e.finish_reason for e in found if isinstance(e, Upstream)] == ["length"]
    assert sum(what == "hear" for what, *_ in engine.asked) == 3
    assert decoder.closed == ["audio"]


def test_settings_that_mean_nothing_here_are_said_to_be_ignored(run):
    asked = call("transcribe", clip(), temperature=0.5, system_prompt="Be brief.", reasoning=True)
    (warning,) = logs(run(events(asked)), "WARN")
    assert "system_prompt, temperature and reasoning" in warning


def test_who_waits_for_another_job_is_told(run):
    async def second():
        engine = FakeEngine()
        local = provider(engine)
        async with engine.job():
            found = local.generate(call("transcribe", clip()))
            seen = [await anext(found), await anext(found)]
            await found.aclose()
        return seen

    assert run(second())[-1] == Log("waiting for the local model")


def test_closing_early_lets_go_of_the_decoder_and_the_model(run):
    async def stopped():
        engine, decoder = FakeEngine(), FakeDecoder(600)
        async with aclosing(provider(engine).generate(call("", clip(decoder)))) as found:
            async for event in found:
                if isinstance(event, Delta):
                    break
        return engine, decoder

    engine, decoder = run(stopped())
    assert decoder.closed == ["audio"]
    assert not engine.is_busy


@pytest.mark.parametrize(
    ("fails", "at", "error"),
    [
        (ChildFailed("weights", "wrong hash"), "load", ProviderRejected),
        (ChildDied("killed"), "load", ProviderUnavailable),
        (ChildDied("killed"), "hear", ProviderFailed),
        (ChildDied("killed"), "read", ProviderFailed),
        (ChildFailed("failed", "an engine's error"), "read", ProviderFailed),
    ],
)
def test_a_model_that_fails_is_a_provider_error(run, fails, at, error):
    engine = FakeEngine(fails=fails, at=at)
    with pytest.raises(error):
        run(events(call("", clip()), engine))
    assert not engine.is_busy


def test_links_and_files_are_refused_at_their_place(run):
    link = LinkPart("https://youtu.be/x", ("body", "video_urls", 0))
    for part in (link, FilePart(clip().media)):
        with pytest.raises(InputError) as refused:
            run(events(call("", part)))
        assert refused.value.problems[0].loc == ("body", "video_urls", 0)


def test_an_unknown_model_is_refused_with_those_there_are(run):
    with pytest.raises(ProviderRejected, match="report, transcribe, read") as refused:
        run(provider().capabilities("gpt"))
    assert refused.value.loc == ("body", "model")


def test_a_missing_extra_is_refused_with_the_remedy(run, monkeypatch):
    monkeypatch.setattr(local_weights, "engines_missing", lambda *_: ["rapidocr"])
    with pytest.raises(ProviderRejected, match=r"pip install 'telecine\[local\]'"):
        run(provider().capabilities("report"))
    health = run(provider().check())
    assert not health.is_ok
    assert health.fix == "pip install 'telecine[local]'"


def test_it_takes_decoded_videos_of_any_number_and_length(run):
    capabilities = run(provider().capabilities("report"))
    assert capabilities.delivery == ("decoded",)
    assert capabilities.max_videos is None


def test_check_says_which_file_is_wrong(run, monkeypatch):
    def wrong(*_):
        raise local_weights.WeightsWrong("model.bin is not the published file")

    monkeypatch.setattr(local_weights, "speech", wrong)
    health = run(provider().check())
    assert not health.is_ok
    assert "model.bin" in health.says
    assert health.fix


def test_its_models_are_listed(run):
    assert [model.id for model in run(provider().models())] == ["report", "transcribe", "read"]


# ---------------------------------------------------------------- images and sounds


@pytest.mark.parametrize(
    ("model", "images", "audio"),
    [
        ("report", IMAGE_FORMATS, AUDIO_FORMATS),
        ("transcribe", (), AUDIO_FORMATS),
        ("read", IMAGE_FORMATS, ()),
    ],
)
def test_a_model_takes_what_its_parts_are_found_in(run, model, images, audio):
    takes = run(provider().capabilities(model))
    assert (takes.images, takes.audio, takes.is_decoded) == (images, audio, True)


def test_an_image_is_the_text_in_it_without_times(run):
    engine = FakeEngine()
    found = run(events(call("", still()), engine))
    assert text(found) == 'Text in the image:\n  "A TITLE"\n'
    assert ("read", 8, 6) in engine.asked
    assert ("load", "speech") not in engine.asked
    [usage] = [event for event in found if isinstance(event, Usage)]
    assert usage.by_modality == {"image": 1}


def test_a_sound_file_is_the_speech_in_it(run):
    engine = FakeEngine()
    found = run(events(call("", sound(), model="report"), engine))
    assert text(found).startswith("Speech (en):\n  [00:00.0-00:01.0] word0\n")
    assert "Shots" not in text(found)
    assert ("load", "text") not in engine.asked
    assert run_text(run, "Transcribe this.", sound(), model="transcribe") == "word0 word1 word2\n"


def run_text(run, prompt, *parts, **more):
    return text(run(events(call(prompt, *parts, **more))))


def test_several_media_get_a_heading_each_by_kind(run):
    said = run_text(run, "", still(), sound(), still())
    assert [line for line in said.splitlines() if line.endswith(":") and line[0] in "IS"] == [
        "Image 1:",
        "Sound 1 (3.0 s):",
        "Speech (en):",
        "Image 2:",
    ]


def test_what_a_medium_can_not_have_is_said(run):
    assert run_text(run, "the speech as a report", still()) == "Speech: an image has none\n"
    said = run_text(run, "the on-screen text as a report", sound())
    assert said == "On-screen text: a sound file has none\n"


def test_json_tells_media_by_their_kind(run):
    said = json.loads(run_text(run, "as json", still(), sound()))
    assert [next(iter(entry)) for entry in said["media"]] == ["image", "audio"]
    assert said["media"][0]["on_screen_text"] == [{"text": "A TITLE"}]
    assert len(said["media"][1]["speech"]) == 3


def test_subtitles_of_a_sound_are_as_those_of_a_video(run):
    assert run_text(run, "subtitles as srt", sound()).startswith(
        "1\n00:00:00,000 --> 00:00:01,000\n"
    )
