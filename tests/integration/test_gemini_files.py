"""Files at Google: uploaded, waited for, used again, deleted. Against the fake, over real sockets."""

import asyncio
import logging

import pytest
from tests.fakes import upstream as fake
from tests.fakes.gemini import Time, call, clip, failed, heard, logs, opened, switched, text

from telecine.errors import FormRefused, ProviderFailed, ProviderUnavailable
from telecine.providers.gemini import files, google, request

DATA = bytes(range(256)) * 40


@pytest.fixture
def upstream():
    with fake.serve() as served:
        yield served


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch):
    monkeypatch.setattr(request, "MAX_INLINE_BYTES", 100)


def uploads(upstream):
    return [path for path in upstream.asked if path.endswith("/upload/v1beta/files")]


def deleted(upstream):
    return [path for path in upstream.asked if path.startswith("DELETE")]


def test_a_file_arrives_unchanged_in_pieces_of_8_mib(run, upstream, tmp_path, monkeypatch):
    monkeypatch.setattr(google, "CHUNK", 1000)
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            return await heard(gemini, call(video))

    said = text(run(use()))
    assert f"sha256={video.sha256}" in said
    assert len(uploads(upstream)) == 1 + -(-len(DATA) // 1000)
    assert [(sent.bytes, sent.mime) for sent in upstream.last.videos] == [(len(DATA), "video/mp4")]


def test_the_small_ones_beside_it_go_inside_the_request(run, upstream, tmp_path):
    small, large = clip(tmp_path / "s", b"small"), clip(tmp_path / "l", DATA, 1)

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(small, large))

    run(use())
    first, second, _ = upstream.last.document["contents"][0]["parts"]
    assert ("inlineData" in first, "fileData" in second) == (True, True)
    assert [sent.sha256 for sent in upstream.last.videos] == [small.sha256, large.sha256]


def test_it_waits_until_the_file_can_be_used_and_says_so(run, upstream, tmp_path):
    one, two = clip(tmp_path / "1", b"s"), clip(tmp_path / "2", DATA, 1)
    time = Time()

    async def use():
        async with opened(upstream, clock=time) as gemini:
            return await heard(gemini, call(one, two))

    with switched(upstream, "processing-4"):
        said = logs(run(use()))
    assert said == [
        "uploading video 2/2 to Gemini (0.0 MB)",
        "waiting for Gemini to process video 2/2: 0 s",
        "waiting for Gemini to process video 2/2: 1 s",
        "waiting for Gemini to process video 2/2: 2 s",
        "waiting for Gemini to process video 2/2: 5 s",
    ]
    assert time.slept == [1.0, 1.5, 2.25, 3.375]


def test_a_video_that_cannot_be_processed_is_refused_with_googles_words(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA, 3)

    async def use():
        async with opened(upstream) as gemini:
            return await failed(gemini, call(video))

    with switched(upstream, "file-failed"):
        _, error = run(use())
    assert type(error) is FormRefused
    assert error.loc == ("body", "video_urls", 3)
    assert "could not be decoded" in error.message
    assert len(deleted(upstream)) == 1


def test_waiting_has_an_end(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            return await failed(gemini, call(video))

    with switched(upstream, "processing-9999"):
        _, error = run(use())
    assert type(error) is ProviderUnavailable
    assert "still processing" in error.message
    assert len(deleted(upstream)) == 1


# ---------------------------------------------------------------- what breaks on the way


def test_a_broken_piece_goes_on_where_it_broke_off(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA * 100)

    async def use():
        async with opened(upstream) as gemini:
            return await heard(gemini, call(video))

    with switched(upstream, "upload-breaks"):
        run(use())
    # The start, the piece that broke, the question how much arrived, and the rest.
    assert len(uploads(upstream)) == 4
    assert upstream.last.videos[0].sha256 == video.sha256


def test_an_upload_that_google_forgot_is_begun_anew(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(video))

    with switched(upstream, "upload-forgets"):
        run(use())
    assert upstream.last.videos[0].sha256 == video.sha256


def test_an_answer_in_pieces_is_read_to_its_end(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(video))

    with switched(upstream, "upload-drip"):
        run(use())
    assert len(uploads(upstream)) == 2
    assert upstream.last.videos[0].sha256 == video.sha256


def test_a_line_that_breaks_again_and_again_but_gets_on_is_borne(
    run, upstream, tmp_path, monkeypatch
):
    monkeypatch.setattr(google, "CHUNK", 1000)
    video = clip(tmp_path / "v", DATA)
    breaks = iter([True, True, True, False] * 20)
    send = google.Google._send

    async def sending(self, *asked):
        if next(breaks, False):
            raise google._Broken("the connection broke")
        return await send(self, *asked)

    monkeypatch.setattr(google.Google, "_send", sending)

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(video))

    run(use())
    assert upstream.last.videos[0].sha256 == video.sha256


def test_a_busy_server_is_asked_again_after_a_pause(run, upstream, tmp_path):
    video, time = clip(tmp_path / "v", DATA), Time()

    async def use():
        async with opened(upstream, clock=time) as gemini:
            await heard(gemini, call(video))

    with switched(upstream, "upload-503"):
        run(use())
    assert time.slept[0] == 1.0
    assert upstream.last.videos[0].sha256 == video.sha256


def test_a_server_that_is_not_there_bills_nothing_and_may_be_tried_again(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream, base="http://127.0.0.1:9") as gemini:
            return await failed(gemini, call(video))

    _, error = run(use())
    assert type(error) is ProviderUnavailable
    assert "video 1/1 could not be uploaded" in error.message


def test_an_upload_that_is_too_large_is_refused_in_this_form(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            return await failed(gemini, call(video))

    with switched(upstream, "upload-413"):
        _, error = run(use())
    assert type(error) is FormRefused
    assert error.loc == video.loc


def test_a_wrong_key_is_the_operators_mistake_and_is_not_told(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream, key="AIzaWrongWrongWrong") as gemini:
            return await failed(gemini, call(video))

    _, error = run(use())
    assert type(error) is ProviderFailed
    assert "AIza" not in f"{error} {error.__cause__!r}"


def test_nothing_is_sent_to_an_address_that_is_not_googles(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            return await failed(gemini, call(video))

    with switched(upstream, "upload-elsewhere"):
        _, error = run(use())
    assert type(error) is ProviderFailed
    assert "base_url" in error.message
    assert "files.invalid" not in error.message


def test_no_log_and_no_event_names_the_address_of_an_upload(run, upstream, tmp_path, caplog):
    video = clip(tmp_path / "v", DATA)
    caplog.set_level(logging.DEBUG)

    async def use():
        async with opened(upstream) as gemini:
            return await heard(gemini, call(video))

    with switched(upstream, "upload-breaks"):
        events = run(use())
    assert "upload_id" not in caplog.text + repr(events)


# ---------------------------------------------------------------- used again


def test_the_same_bytes_are_uploaded_once(run, upstream, tmp_path):
    video, again = clip(tmp_path / "v", DATA), clip(tmp_path / "w", DATA, 1)

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(video, again))
            await heard(gemini, call(again))

    run(use())
    assert len(uploads(upstream)) == 2
    assert [sent.sha256 for sent in upstream.last.videos] == [video.sha256]


def test_requests_at_the_same_time_share_one_upload(run, upstream, tmp_path):
    videos = [clip(tmp_path / str(n), DATA, n) for n in range(5)]

    async def use():
        async with opened(upstream) as gemini:
            return await asyncio.gather(*(heard(gemini, call(video)) for video in videos))

    answers = run(use())
    assert len(uploads(upstream)) == 2
    assert all(videos[0].sha256 in text(events) for events in answers)


def test_an_uploader_that_is_cancelled_does_not_fail_who_waits_with_it(run, upstream, tmp_path):
    first, second = clip(tmp_path / "a", DATA), clip(tmp_path / "b", DATA, 1)

    async def use():
        async with opened(upstream) as gemini:
            begun, goes_on = asyncio.Event(), asyncio.Event()

            async def pause(_):
                begun.set()
                await goes_on.wait()

            gemini._files._sleep = pause
            uploader = asyncio.create_task(heard(gemini, call(first)))
            await begun.wait()
            waiter = asyncio.create_task(heard(gemini, call(second)))
            await asyncio.sleep(0)
            uploader.cancel()
            await asyncio.gather(uploader, return_exceptions=True)
            first.path.unlink()
            goes_on.set()
            return await waiter

    assert second.sha256 in text(run(use()))
    assert len(uploads(upstream)) == 2


def test_the_file_of_a_caller_who_left_is_still_read_for_the_others(run, upstream, tmp_path):
    first, second = clip(tmp_path / "a", DATA), clip(tmp_path / "b", DATA, 1)

    async def use():
        async with opened(upstream) as gemini:
            gemini._files._slots = asyncio.Semaphore(0)
            uploader = asyncio.create_task(heard(gemini, call(first)))
            waiter = asyncio.create_task(heard(gemini, call(second)))
            async with asyncio.timeout(10):
                while not gemini._files._slots._waiters:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0)
            uploader.cancel()
            await asyncio.gather(uploader, return_exceptions=True)
            first.path.unlink()
            gemini._files._slots.release()
            return await waiter

    assert second.sha256 in text(run(use()))


def test_when_nobody_waits_any_more_the_upload_ends_and_can_be_begun_anew(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            begun = asyncio.Event()

            async def for_ever(_):
                begun.set()
                await asyncio.Event().wait()

            quick, gemini._files._sleep = gemini._files._sleep, for_ever
            left = asyncio.create_task(heard(gemini, call(video)))
            await begun.wait()
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            gemini._files._sleep = quick
            return await heard(gemini, call(video))

    assert video.sha256 in text(run(use()))


def test_a_file_that_is_gone_is_uploaded_again(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(video))
            [entry] = gemini._files._entries.values()
            await gemini._google.delete(entry.stored.name)
            await heard(gemini, call(video))

    run(use())
    assert len(uploads(upstream)) == 4


def test_a_file_that_expires_between_the_look_and_the_use_is_uploaded_again_once(
    run, upstream, tmp_path
):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            return await heard(gemini, call(video))

    with switched(upstream, "expired"):
        events = run(use())
    assert video.sha256 in text(events)
    assert any("once more" in line for line in logs(events))
    assert len(uploads(upstream)) == 4


def test_a_file_that_is_refused_twice_is_an_error(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            ask = gemini._google.ask

            async def behind_its_back(*asked):
                for entry in gemini._files._entries.values():
                    await gemini._google.delete(entry.stored.name)
                async for event in ask(*asked):
                    yield event

            gemini._google.ask = behind_its_back
            return await failed(gemini, call(video))

    _, error = run(use())
    assert isinstance(error, FormRefused)
    assert error.upstream_status == 403


async def brought(held):
    async for _ in held.bring():
        pass


def test_a_file_that_was_brought_anew_meanwhile_stays_for_who_brought_it(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            source = request.uploads(call(video))
            async with gemini._files.held(source) as one, gemini._files.held(source) as other:
                await brought(one)
                await brought(other)
                one.distrust("no such file")
                await brought(one)
                other.distrust("no such file")
                [entry] = gemini._files._entries.values()
                return entry.stored, one.uris

    stored, uris = run(use())
    assert list(uris.values()) == [stored.uri]
    assert len(deleted(upstream)) == 2  # the first when it was distrusted, the other at the end


def test_a_day_later_it_is_deleted_and_uploaded_again(run, upstream, tmp_path):
    video, time = clip(tmp_path / "v", DATA), Time()

    async def use():
        async with opened(upstream, clock=time) as gemini:
            await heard(gemini, call(video))
            time.now += 24 * 3600
            await heard(gemini, call(video))
            await asyncio.gather(*gemini._files._background)
            return len(deleted(upstream))

    assert run(use()) == 1
    assert len(uploads(upstream)) == 4


def test_of_too_many_the_one_that_was_not_used_for_longest_goes(
    run, upstream, tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "_MAX_FILES", 2)
    videos = [clip(tmp_path / str(n), DATA + bytes([n]), n) for n in range(3)]

    async def use():
        async with opened(upstream) as gemini:
            for video in (videos[0], videos[1], videos[0], videos[2]):
                await heard(gemini, call(video))
            await asyncio.gather(*gemini._files._background)
            return [entry.source.sha256 for entry in gemini._files._entries.values()]

    assert run(use()) == [videos[0].sha256, videos[2].sha256]


def test_what_was_uploaded_is_deleted_when_the_provider_closes(run, upstream, tmp_path):
    videos = [clip(tmp_path / str(n), DATA + bytes([n]), n) for n in range(3)]

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(*videos))
            assert not deleted(upstream)

    run(use())
    assert len(deleted(upstream)) == 3


def test_what_a_crash_left_behind_is_found_and_used_but_left_to_google_to_delete(
    run, upstream, tmp_path
):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            await heard(gemini, call(video))
            gemini._files._entries.clear()
        async with opened(upstream) as gemini:
            return await heard(gemini, call(video))

    assert video.sha256 in text(run(use()))
    assert len(uploads(upstream)) == 2
    assert not deleted(upstream)


def test_closing_in_the_middle_of_an_upload_leaves_nothing_behind(run, upstream, tmp_path):
    video = clip(tmp_path / "v", DATA)

    async def use():
        async with opened(upstream) as gemini:
            begun = asyncio.Event()

            async def for_ever(_):
                begun.set()
                await asyncio.Event().wait()

            gemini._files._sleep = for_ever
            asked = asyncio.create_task(failed(gemini, call(video)))
            await begun.wait()
        return await asked

    _, error = run(use())
    assert type(error) is ProviderUnavailable
    assert len(deleted(upstream)) == 1
