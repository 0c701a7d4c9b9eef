"""What models take and cost, and what a request would: Telecine's own API through the whole program."""

import base64
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from tests.fakes import upstream as fake
from tests.fakes.asgi import Browser

from telecine import app, settings
from telecine.api import own_document

DATA = Path(__file__).parents[1] / "data"
KEY = "00000000-0000-4000-8000-000000000001:0123456789abcdef0123456789abcdef"
MODELS, ESTIMATE = "/telecine/v1/models", "/telecine/v1/estimate"
SETTINGS = """
[server]
stop_seconds = 1
[providers.echo]
[providers.openrouter]
base_url = "{url}/openrouter"
[providers.vllm]
type = "openai"
base_url = "{url}/vllm"
dialect = "vllm"
models = ["seen", "priced"]
[models.catalog."vllm/seen"]
video = ["frames"]
context_tokens = 4096
[models.catalog."vllm/priced"]
video = ["file"]
price_prompt = "2"
price_completion = 8
[models.aliases]
"short" = "vllm/priced"
"""


@pytest.fixture(scope="module")
def upstream():
    with fake.serve() as served:
        yield served


@pytest.fixture
def serve(run, tmp_path, upstream):
    """Run a test's coroutine function against a server."""

    @asynccontextmanager
    async def opened():
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "telecine.toml").write_text(SETTINGS.format(url=upstream.url))
        environ = {
            "TELECINE_DATA_DIR": str(tmp_path / "data"),
            "TELECINE_BOOTSTRAP_KEY": KEY,
            "OPENROUTER_API_KEY": fake.KEY,
        }
        async with app.opened(settings.load(folder=tmp_path, environ=environ)) as opened:
            yield Browser(opened.asgi, key=KEY)

    def serve(test):
        async def main():
            async with opened() as call:
                return await test(call)

        return run(main())

    return serve


def video(name="jfk_slides.mp4"):
    data = base64.b64encode((DATA / name).read_bytes()).decode()
    return f"data:video/mp4;base64,{data}"


def models(serve, query=""):
    answer = serve(lambda call: call("GET", MODELS + query))
    assert answer.status == 200
    return answer.json


def by_name(document):
    return {model["model"]: model for model in document["models"]}


def test_each_model_tells_what_it_takes_and_costs_with_source_and_day(serve):
    found = models(serve)
    gemini = by_name(found)["openrouter/google/gemini-2.5-flash"]
    assert gemini["takes"]["video"][0] == "file"
    assert "link" in gemini["takes"]["video"]
    assert gemini["takes"]["hears_videos"] is True
    assert Decimal(gemini["price_per_token"]["prompt"]) == Decimal("3e-7")
    assert gemini["price_per_token"]["source"].startswith("openrouter")
    assert gemini["price_per_token"]["dated"]
    assert found["aliases"] == {"short": "vllm/priced"}
    assert by_name(found)["echo/echo"]["price_per_token"]["source"] == "free"


def test_the_operators_word_is_in_the_list(serve):
    found = by_name(models(serve))
    assert found["vllm/seen"]["takes"]["video"] == ["frames"]
    assert found["vllm/seen"]["context_tokens"] == 4096
    assert found["vllm/priced"]["price_per_token"] == {
        "prompt": "0.000002",
        "completion": "0.000008",
        "cached": None,
        "audio": None,
        "image": None,
        "request": "0",
        "tiers": [],
        "source": "telecine.toml",
        "dated": None,
    }


def test_the_list_is_what_its_document_says(serve):
    document = own_document.document("https://x")
    for name, answer in (
        ("Models", models(serve)),
        ("Estimate", estimate(serve, model="vllm/priced", video_urls=[video()]).json),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer)


def test_the_list_can_be_cut_to_what_is_wanted(serve):
    assert set(by_name(models(serve, "?search=priced"))) == {"vllm/priced"}
    cheap = by_name(models(serve, "?video=true&max_price=1"))
    assert cheap.keys() >= {"echo/echo", "openrouter/google/gemini-2.5-flash"}
    assert "vllm/priced" not in cheap
    assert all(model["takes"]["video"] for model in cheap.values())


@pytest.mark.parametrize(
    "query", ["?video=yes", "?max_price=cheap", "?max_price=-1", "?max_price=NaN", "?images=1"]
)
def test_what_is_no_filter_is_refused(serve, query):
    assert serve(lambda call: call("GET", MODELS + query)).status == 400


# ---------------------------------------------------------------- estimates


def estimate(serve, key=KEY, **fields):
    document = {"prompt": "What colour?", **fields}

    async def ask(call):
        call._key = key
        return await call("POST", ESTIMATE, document)

    return serve(ask)


def test_an_estimate_has_the_plan_the_tokens_and_the_cost_and_asks_no_model(serve, upstream):
    upstream.asked.clear()
    answer = estimate(
        serve, model="google/gemini-2.5-flash", video_urls=[video()], max_tokens=100, fps=1
    )
    assert answer.status == 200, answer.body
    told = answer.json
    assert (told["provider"], told["provider_model"]) == ("openrouter", "google/gemini-2.5-flash")
    assert [each["as"] for each in told["plan"]["videos"]] == ["file"]
    assert told["prompt_tokens"] > 0
    low, high = Decimal(told["cost"]["low"]), Decimal(told["cost"]["high"])
    assert high - low == 100 * Decimal("25e-7")
    assert told["cost"]["source"]
    assert not [path for path in upstream.asked if "completions" in path]


def test_a_price_that_nobody_knows_makes_no_cost(serve):
    told = estimate(serve, model="vllm/seen", video_urls=[video()]).json
    assert told["cost"] == {"low": None, "high": None, "source": None, "dated": None}
    assert told["plan"]["videos"][0]["as"] == "frames"


def test_an_estimate_can_be_of_any_endpoint(serve):
    told = estimate(serve, endpoint="openrouter/router", model="vllm/priced").json
    assert told["plan"]["videos"] == []


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"model": "vllm/priced", "endpoint": "a/b"}, ["body", "endpoint"]),
        ({"model": "vllm/priced", "endpoint": 3}, ["body", "endpoint"]),
        ({"model": "vllm/nobody"}, ["body", "model"]),
        ({"model": "vllm/priced", "fps": 0}, ["body", "fps"]),
        ({}, ["body", "model"]),
    ],
)
def test_what_could_not_be_run_can_not_be_estimated(serve, fields, loc):
    answer = estimate(serve, **fields)
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == loc


def test_an_estimate_needs_a_key(serve):
    assert estimate(serve, key=None, model="vllm/priced").status == 401


def test_nothing_of_an_estimate_is_kept(serve, tmp_path):
    estimate(serve, model="vllm/priced", video_urls=[video()])
    assert not list((tmp_path / "data/spool").rglob("*/*"))
