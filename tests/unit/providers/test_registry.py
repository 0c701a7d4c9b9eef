import pytest

from telecine.errors import InputError, ProviderRejected, ProviderUnavailable
from telecine.models import Capabilities
from telecine.providers.base import Model
from telecine.providers.echo import Echo
from telecine.providers.openrouter import OpenRouter
from telecine.providers.registry import Registry


class Listing:
    """A provider that lists `names`; None: it cannot be reached."""

    def __init__(self, name, names):
        self.name = name
        self._names = names

    async def capabilities(self, model):
        return Capabilities(delivery=("file",))

    async def models(self):
        if self._names is None:
            raise ProviderUnavailable("down")
        return [Model(id=name) for name in self._names]


class Gemini(Listing):
    def own_name(self, model):
        return model.removeprefix("google/") if model.startswith("google/gemini-") else None


class Offline(OpenRouter):
    """OpenRouter without its network."""

    def __init__(self, api_key="key", models=None):
        super().__init__(
            "openrouter", client=None, base_url="http://x", api_key=api_key, models=models
        )

    async def _fetch(self):
        raise ProviderUnavailable("down")


LOCAL = Listing("local", ["report", "read"])


def resolve(run, model, *providers, aliases=()):
    registry = Registry({p.name: p for p in (LOCAL, *providers)}, dict(aliases))
    route = run(registry.resolve(model))
    assert route.asked == model
    return f"{route.provider.name}: {route.model}"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("local/report", "local: report"),
        ("vllm/Qwen/Qwen3-VL-8B", "vllm: Qwen/Qwen3-VL-8B"),
        ("openrouter/google/gemini-2.5-flash", "openrouter: google/gemini-2.5-flash"),
        ("google/gemini-2.5-flash", "openrouter: google/gemini-2.5-flash"),
        ("anything", "openrouter: anything"),
        ("echo/count-3", "echo: count-3"),
    ],
)
def test_a_provider_in_front_wins_over_openrouter(run, model, expected):
    providers = (Listing("vllm", []), Echo("echo"), Gemini("gemini", []), Offline())
    assert resolve(run, model, *providers) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("report", "local: report"),
        ("Qwen/Qwen3-VL-8B", "vllm: Qwen/Qwen3-VL-8B"),
        ("google/gemini-2.5-flash", "gemini: gemini-2.5-flash"),
    ],
)
def test_without_openrouter_whoever_lists_the_name_serves_it(run, model, expected):
    providers = (Listing("down", None), Listing("vllm", ["Qwen/Qwen3-VL-8B"]), Gemini("gemini", []))
    assert resolve(run, model, *providers, Offline(api_key=None)) == expected


def test_openrouter_serves_only_what_the_operator_lists(run):
    assert resolve(run, "report", Offline(models=["a/b"])) == "local: report"
    assert resolve(run, "a/b", Offline(models=["a/b"])) == "openrouter: a/b"


def test_an_alias_comes_first_and_the_exact_one_before_the_star(run):
    aliases = {"a/b": "vllm/B", "*": "local/report"}
    vllm = Listing("vllm", [])
    assert resolve(run, "a/b", vllm, Offline(), aliases=aliases) == "vllm: B"
    assert resolve(run, "c/d", vllm, Offline(), aliases=aliases) == "local: report"


def test_the_star_takes_no_name_that_says_its_provider(run):
    assert resolve(run, "vllm/B", Listing("vllm", []), aliases={"*": "local/report"}) == "vllm: B"


def test_the_routers_own_models_keep_their_name(run):
    assert resolve(run, "openrouter/auto", Offline()) == "openrouter: openrouter/auto"


def test_an_alias_is_not_looked_up_again(run):
    aliases = {"a": "local/b", "local/b": "a", "*": "a"}
    assert resolve(run, "a", aliases=aliases) == "local: b"
    assert resolve(run, "local/b", Offline(), aliases=aliases) == "openrouter: a"


@pytest.mark.parametrize("model", ["google/x", "local/", "local", "", "/", "echo/echo"])
def test_what_nobody_has_is_refused_with_what_to_set(run, model):
    with pytest.raises(InputError) as caught:
        resolve(run, model)
    problem = caught.value.problems[0]
    assert (problem.loc, problem.type, problem.input) == (("body", "model"), "value_error", model)
    assert "Configured: local" in problem.msg
    assert "OPENROUTER_API_KEY" in problem.msg


def test_an_alias_that_leads_nowhere_is_named(run):
    with pytest.raises(InputError, match="which the alias 'a' points to"):
        resolve(run, "a", aliases={"a": "b"})


def test_openrouter_in_front_without_a_key_says_what_to_set(run):
    with pytest.raises(InputError, match="set OPENROUTER_API_KEY"):
        resolve(run, "openrouter/a/b", Offline(api_key=None))


def test_a_model_that_its_provider_does_not_have_is_its_refusal(run):
    with pytest.raises(ProviderRejected, match="wait-S"):
        resolve(run, "echo/nope", Echo("echo"))
