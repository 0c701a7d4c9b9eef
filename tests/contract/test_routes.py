"""What each route takes, and how: the whole server in front of the fake upstream, and of llama.cpp's
own server. docs/providers.md is made of what is found here, and has to say the same.

A cell is the word for how a route met a wish. Nothing may be met in silence by nothing at all: what
was told to the upstream is in what it got, what was done here shows in the bytes.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import threading
from decimal import Decimal

import pytest
from tests.contract.report import PAGE, REAL, ROUTES, cells_of, column, title_of
from tests.fakes import clips, llama
from tests.fakes import upstream as fake
from tests.fakes.asgi import Browser
from tests.fakes.pipeline import DATA

from telecine import app, settings
from telecine.cli.fake_upstream import settings_file
from telecine.models import Words
from telecine.providers.local import Local

KEY = "00000000-0000-4000-8000-000000000001:0123456789abcdef0123456789abcdef"
VIDEO = "/openrouter/router/video"
SILENT = DATA / "onscreen_instructions_silent.mp4"  # of 6 seconds
SPEECH = DATA / "jfk_slides.mp4"
TUBE = "https://youtu.be/dQw4w9WgXcQ?t=3"
KEYS = ("OPENROUTER_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY", "FAKE_KEY")
CATALOG = '\n[models.catalog."openrouter/pictures/only"]\nvideo = ["frames"]\n[providers.echo]\n'
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
WANTED = {"type": "json_schema", "json_schema": {"name": "seen", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def upstream():
    with fake.serve() as served:
        yield served


@pytest.fixture(scope="module")
def served(tmp_path_factory, upstream):
    """A whole server in front of all of them; called from outside its loop."""
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("routes")
    with llama.serve(folder, sees=True) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Local, "words", _words)
        (folder / "data").mkdir()
        real = f'[providers.llama]\ntype = "openai"\ndialect = "llamacpp"\nbase_url = "{url}"\n'
        (folder / "telecine.toml").write_text(settings_file(upstream.url) + real + CATALOG)
        environ = {
            **dict.fromkeys(KEYS, fake.KEY),
            "TELECINE_DATA_DIR": str(folder / "data"),
            "TELECINE_BOOTSTRAP_KEY": KEY,
            "TELECINE_NET_ALLOW": "127.0.0.0/8",
        }
        with _running(settings.load(folder=folder, environ=environ)) as call:
            yield call


async def _words(_self, _video, _decoder, start, _end):
    """What is said, without the seconds that it takes to hear it."""
    return (Words(start, start + 1, "Ask not."),)


@contextlib.contextmanager
def _running(loaded):
    """Calls of a server that runs in a thread of its own."""
    loop, opened, stopped = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found = {}

    async def main():
        async with app.opened(loaded) as server:
            found["app"] = server.asgi
            opened.set()
            await stopped.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), name="server")
    thread.start()
    assert opened.wait(20)

    def call(path, document, *, hang_up_after=None):
        async def work():
            browser = Browser(found["app"], key=KEY)
            calling = asyncio.create_task(browser("POST", path, document))
            if hang_up_after is not None:
                while not hang_up_after():  # noqa: ASYNC110 - the fake is in another thread
                    await asyncio.sleep(0.01)
                browser.hang_up.set()
            return await calling

        return asyncio.run_coroutine_threadsafe(work(), loop).result(60)

    try:
        yield call
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


class Met:
    """How a request went: `receipt` None where it was refused with `detail`; `got`: what the fake
    was sent, the last of it first."""

    def __init__(self, answer, got):
        self.status = answer.status
        self.receipt = answer.json.get("receipt")
        self.detail = answer.json.get("detail")
        self.got = got

    @property
    def sent(self):
        return self.receipt["videos"][0]["sent"]

    @property
    def said(self):
        return json.dumps(self.got[0].document) if self.got else ""

    @property
    def bytes(self):
        return [each.sha256 for each in self.got[0].media] if self.got else []

    def warned(self, word):
        return any(word in warning for warning in self.receipt["warnings"])


@pytest.fixture
def ask(served, upstream, route):
    def ask(*videos, model=None, **more):
        given = {
            "prompt": "Where are the cuts?",
            "model": model or ROUTES[route],
            "video_urls": list(videos) or [inline(SILENT)],
            "receipt": True,
        }
        if route in REAL:
            given["max_tokens"] = 8
        upstream.forget()
        answer = served(VIDEO, given | more)
        return Met(answer, upstream.received[::-1])

    return ask


@pytest.fixture
def shows(request, record_property, route):
    """Says how a wish was met: for the page where it is being made, else it has to be there."""

    def shows(how):
        title = title_of(request.function.__name__)
        record_property("cell", (title, route, how))
        if not request.config.pluginmanager.has_plugin("tests.contract.report"):
            assert cells_of(PAGE.read_text())[title, route] == how, "run: make providers"

    return shows


@pytest.fixture(scope="module")
def plain():
    """What each route is sent when nothing is asked for, by the clip."""
    return {}


@pytest.fixture
def unlike(ask, plain, route):
    """Asks for `options`, and compares with the same request without them: what is said differs
    where they are the upstream's business, what is shown differs where they are done here."""

    def unlike(path=SILENT, **options):
        if (route, path) not in plain:
            plain[route, path] = ask(inline(path))
        return ask(inline(path), **options), plain[route, path]

    return unlike


def inline(path):
    return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()


def of_video(met, plain, *names):
    """The word for an option of the view."""
    if met.status == 422:
        return "refused"
    if any(met.warned(name) for name in names):
        return "warned"
    sent = met.sent
    if sent["as"] == "decoded":
        return "here"
    if set(names) & set(sent.get("view", {})):
        assert met.said != plain.said
        return "told"
    if sent["as"] == "frames":
        return "frames"
    if "prepared" in sent:
        assert not met.got or met.bytes != plain.bytes
        return "here"
    assert not met.got, "nobody saw to it, and nothing was said"
    return "ignored"


# ---------------------------------------------------------------- videos


@column("Videos", "an address")
def test_a_video_by_its_address(ask, shows, upstream):
    met = ask(f"{upstream.url}/media/clip.mp4", audio=False)
    shows(met.sent["as"])


@column("Videos", "bytes")
def test_a_video_in_the_request(ask, shows):
    shows(ask().sent["as"])


@column("Videos", "17 MB")
def test_a_video_that_is_larger_than_a_request_may_be(ask, shows, tmp_path, route):
    if route in REAL:
        pytest.skip("it has no such limit")
    path = tmp_path / "large.mp4"
    path.write_bytes(SILENT.read_bytes() + clips.box(b"free", bytes(17_000_000)))
    met = ask(inline(path))
    name = "frames" if met.sent["as"] == "frames" else "made smaller"
    if "prepared" not in met.sent and met.sent["as"] == "file":
        is_uploaded = any(mark in met.said for mark in ("ms://", "/v1beta/files/"))
        name = "uploaded" if is_uploaded else "file"
    shows(met.sent["as"] if met.sent["as"] == "decoded" else name)


@column("Videos", "YouTube")
def test_a_youtube_link(ask, shows):
    met = ask(TUBE)
    if met.status == 422:
        assert met.detail[0]["type"] == "feature_not_supported"
        assert not met.got
    elif met.got:
        assert met.got[0].links[0].startswith("https://www.youtube.com/watch?v=dQw4w9WgXcQ")
    shows("refused" if met.status == 422 else met.sent["as"])


@column("Videos", "a refused form")
def test_a_form_that_the_upstream_refuses(ask, shows, upstream):
    upstream.switches.switch, upstream.switches.times = "413", 1
    try:
        met = ask()
    finally:
        upstream.switches.switch, upstream.switches.times = "", None
    if not met.got:
        pytest.skip("nobody refuses it")
    if met.status == 422:
        shows("refused")
        return
    assert [each["ended"] == "answered" for each in met.receipt["deliveries"]] == [False, True]
    shows(f"then {met.sent['as']}")


@column("Videos", "sound")
def test_the_sound_of_a_video(ask, shows):
    met = ask(inline(SPEECH))
    if met.sent["as"] == "frames":
        assert met.sent["transcript"]
        assert not met.got or "Ask not." in met.said
        shows("as text")
        return
    why = " ".join(met.receipt["plan"]["videos"][0]["why"])
    shows("in the file" if "is not known to hear" in why else "heard")


@column("Videos", "23 minutes")
def test_a_long_video(served, shows, route, film):
    answer = served(
        "/telecine/v1/estimate",
        {"prompt": "What?", "model": ROUTES[route], "video_urls": [inline(film)]},
    )
    if answer.status == 422:
        shows("refused")
        return
    segments = answer.json["plan"]["segments"]
    if segments:
        assert (segments[0]["start"], segments[-1]["end"]) == (0, 1380)
        assert all(a["end"] == b["start"] for a, b in itertools.pairwise(segments))
    shows(f"{len(segments)} + 1 calls" if segments else "one call")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Twenty-three minutes at a picture a second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    pictures = ((1000 * n, clips.picture(64, 48, (n % 256,) * 3)) for n in range(23 * 60))
    return clips.write(path, pictures, rate=1)


# ---------------------------------------------------------------- options of the video


@column("Options", "`fps`")
def test_fps(unlike, shows):
    shows(of_video(*unlike(fps=0.5), "fps"))


@column("Options", "`start`, `end`")
def test_a_range(unlike, shows):
    shows(of_video(*unlike(start=1, end=4), "start", "end"))


@column("Options", "`max_frames`")
def test_a_number_of_frames(unlike, shows):
    shows(of_video(*unlike(max_frames=2), "max_frames", "fps"))


@column("Options", "`resolution`")
def test_resolution(unlike, shows):
    shows(of_video(*unlike(resolution="low"), "resolution"))


@column("Options", "`audio: false`")
def test_without_sound(unlike, shows):
    met, plain = unlike(SPEECH, audio=False)
    if met.sent["as"] == "file" and met.bytes == plain.bytes:
        shows("not heard anyway")
    else:
        shows(of_video(met, plain, "audio"))


# ---------------------------------------------------------------- options of the answer


def of_answer(met, plain, name):
    if met.status == 422:
        return "refused"
    if met.warned(f"{name} here") or met.warned(f"{name} is ignored"):
        return "warned"
    if not met.got:
        pytest.skip("test_llamacpp shows it on the server itself")
    assert met.said != plain.said
    return "told"


@column("Options", "an effort")
def test_an_effort(unlike, shows):
    shows(of_answer(*unlike(reasoning="high"), "effort"))


@column("Options", "`response_format`")
def test_a_response_format(unlike, shows):
    met, plain = unlike(response_format=WANTED)
    if met.status == 200 and met.warned("in words"):
        assert "integer" in met.said or not met.got
        shows("in words" if met.got else "warned")
    else:
        shows(of_answer(met, plain, "response_format"))


@column("Options", "`seed`")
def test_a_seed(unlike, shows):
    shows(of_answer(*unlike(seed=7), "seed"))


@column("Options", "`stop`")
def test_stop(unlike, shows):
    met, plain = unlike(stop=["###"])
    is_here = met.receipt["provider"] in ("local", "echo")
    shows("here" if is_here else of_answer(met, plain, "stop"))


@column("Options", "`provider`")
def test_routing(unlike, shows):
    shows(of_answer(*unlike(provider={"sort": "price"}), "provider"))


@column("Options", "`strict`")
def test_strict_refuses_what_is_a_warning_else(ask, shows):
    """Routing, which one route alone takes, and a seed."""
    lax, strict = (ask(seed=7, provider={"sort": "price"}, strict=it) for it in (False, True))
    lacking = {name for name in ("seed", "provider") if lax.warned(f"{name} here")}
    if not lacking:
        assert strict.status == 200
        shows("nothing to refuse")
        return
    assert {problem["loc"][1] for problem in strict.detail} == lacking
    assert not strict.got
    shows("refused")


# ---------------------------------------------------------------- what comes of it


@column("What comes of it", "tokens by kind")
def test_tokens_by_kind(ask, shows):
    told = ask().receipt["usage"]["prompt_tokens_by_modality"]
    shows("told" if any(told.values()) else "not told")


@column("What comes of it", "seen")
def test_whether_it_is_known_to_be_seen(ask, shows):
    shows(ask().receipt["videos"][0]["seen"])


@column("What comes of it", "dropped in silence")
def test_a_video_that_is_dropped_in_silence(ask, shows, route):
    model = f"{ROUTES[route].partition('/')[0]}/fake/silent-drop"
    if route in ("local", "echo", *REAL):
        pytest.skip("nobody can have it happen")
    if "/" in route:
        model = "openrouter/fake/silent-drop"
    lax, strict = (ask(model=model, strict=it) for it in (False, True))
    assert strict.detail[0]["type"] == "video_not_consumed"
    if lax.status == 422:
        assert lax.detail[0]["type"] == "video_not_consumed"
        shows("refused")
    else:
        assert lax.warned("may not have seen video 1")
        shows("warned")


@column("What comes of it", "cost")
def test_where_the_cost_is_from(ask, shows):
    met = ask()
    cost = met.receipt["cost"]
    if cost["source"] == "billed":
        assert Decimal(cost["usd"]) == met.got[0].billed
    shows(cost["source"])


@column("What comes of it", "a caller who leaves")
def test_a_caller_who_leaves(served, upstream, shows, route):
    if route in ("local", "echo", *REAL):
        pytest.skip("it is shown elsewhere")
    name = "openrouter" if "/" in route else route
    upstream.forget()
    given = {"prompt": "Tell me more", "model": f"{name}/fake/slow"}
    with contextlib.suppress(Exception):
        served(f"{VIDEO}/stream", given, hang_up_after=lambda: upstream.received)
    assert upstream.received[0].ended.wait(10)
    assert upstream.received[0].was_cut
    shows("hangs up")


@column("What comes of it", "errors")
def test_failures_are_ours_with_the_upstreams_words(served, shows, route):
    if route in ("local", *REAL):
        pytest.skip("it is shown elsewhere")
    name = "openrouter" if "/" in route else route
    found = []
    for status in (400, 401, 500, 504):
        model = f"echo/fail-{status}" if route == "echo" else f"{name}/fake/{status}"
        answer = served(VIDEO, {"prompt": "What?", "model": model})
        assert str(status) in answer.body.decode()
        assert fake.KEY not in answer.body.decode()
        found.append(answer.status)
    assert found == [422, 500, 500, 500]
    shows("mapped")
