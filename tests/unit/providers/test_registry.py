from decimal import Decimal

import pytest

from telecine.errors import InputError, ProviderRejected, ProviderUnavailable
from telecine.models import Capabilities
from telecine.providers.base import Model
from telecine.providers.catalog import Override, Price
from telecine.providers.echo import Echo
from telecine.providers.openrouter import OpenRouter
from telecine.providers.registry import Offer, Registry, Wanted

PRICE = Price(prompt=Decimal("1e-6"), completion=Decimal("2e-6"), source="its list")


class Listing:
    """A provider that lists `names`; None: it cannot be reached."""

    images = ()

    def __init__(self, name, names):
        self.name = name
        self._names = names

    async def capabilities(self, model):
        if model == "broken":
            raise ProviderRejected("its weights are missing")
        return Capabilities(delivery=("file",), images=self.images, context_tokens=1000)

    async def price(self, model):
        return PRICE

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


def resolve(run, model, *providers, aliases=(), **more):
    registry = Registry({p.name: p for p in (LOCAL, *providers)}, dict(aliases), **more)
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


@pytest.mark.parametrize("name", ["openrouter", "gemini", "anthropic"])
def test_a_provider_in_front_without_its_key_says_what_to_set(run, name):
    with pytest.raises(InputError, match=f"set THE_KEY, or .* of .providers.{name}."):
        resolve(run, f"{name}/a/b", Listing(name, []), keyless={name: "THE_KEY"})


def test_a_provider_without_its_key_serves_nothing_that_is_not_asked_of_it(run):
    with pytest.raises(InputError, match="or GEMINI_API_KEY for Google's own API"):
        resolve(run, "google/gemini-2.5-flash", Gemini("gemini", []), keyless={"gemini": "K"})


def test_a_model_that_its_provider_does_not_have_is_its_refusal(run):
    with pytest.raises(ProviderRejected, match="wait-S"):
        resolve(run, "echo/nope", Echo("echo"))


# ---------------------------------------------------------------- what is known of a model


class Seeing(Listing):
    images = ("png",)


def known(run, provider, model="m", **more):
    return run(Registry({provider.name: provider}, {}, **more).resolve(f"{provider.name}/{model}"))


def test_a_route_has_the_price_of_any_provider(run):
    assert known(run, Listing("vllm", [])).price == PRICE


def test_whatever_sees_pictures_can_be_shown_frames(run):
    assert known(run, Seeing("vllm", [])).capabilities.delivery == ("file", "frames")
    assert known(run, Listing("vllm", [])).capabilities.delivery == ("file",)


def test_an_operator_can_have_frames_alone(run):
    assert known(run, Seeing("v", []), frames=["v"]).capabilities.delivery == ("frames",)
    assert known(run, Seeing("v", []), frames=["w"]).capabilities.delivery == ("file", "frames")


def test_the_operators_word_on_one_model_is_the_last(run):
    price = Price(prompt=Decimal(0), completion=Decimal(0), source="telecine.toml")
    overrides = {"v/m": Override(video=("url",), hears=True, price=price)}
    route = known(run, Seeing("v", []), overrides=overrides, frames=["v"])
    assert (route.capabilities.delivery, route.capabilities.hears) == (("url",), True)
    assert (route.capabilities.context_tokens, route.price) == (1000, price)
    assert known(run, Seeing("v", []), "other", overrides=overrides).price == PRICE


@pytest.mark.parametrize(
    ("model", "hears"),
    [
        ("openrouter/z-ai/glm-4.6v:nitro", True),
        ("openrouter/z-ai/glm-4.6v", True),
        ("openrouter/z-ai/glm-4.6v:free", False),
        ("openrouter/auto", True),
        ("openrouter/openrouter/auto", True),
    ],
)
def test_a_word_on_one_of_openrouters_models_holds_however_it_is_routed(run, model, hears):
    said = {
        "openrouter/z-ai/glm-4.6v": Override(hears=True),
        "openrouter/auto": Override(hears=True),
    }
    registry = Registry({"openrouter": Offline()}, {}, overrides=said)
    route = run(registry.resolve(model))
    assert route.capabilities.hears is hears


def test_offers_are_what_providers_list_as_it_would_be_resolved_and_why_one_does_not(run):
    providers = {p.name: p for p in (Listing("v", ["a", "broken"]), Listing("down", None))}
    registry = Registry(providers, {}, overrides={"v/a": Override(hears=True)})
    found = run(registry.offers())
    assert (found["down"].offers, found["down"].problem) == ((), "down")
    first, second = found["v"].offers
    assert (first.name, first.capabilities.hears, first.price) == ("v/a", True, PRICE)
    assert (second.name, second.capabilities, second.price) == ("v/broken", None, None)


def test_what_cannot_be_asked_offers_what_the_seed_has(run):
    registry = Registry({"g": Listing("g", None)}, {}, routes={"g": "gemini"})
    found = run(registry.offers())["g"]
    assert found.problem == "down"
    assert "g/gemini-2.5-flash" in [offer.name for offer in found.offers]


def offer(*, price=PRICE, **takes):
    model = Model(id="Qwen/Qwen3-VL", name="Qwen VL", description="Sees well.")
    return Offer("v", model, Capabilities(**{"delivery": (), **takes}), price)


@pytest.mark.parametrize(
    ("found", "wanted", "is_met"),
    [
        (offer(), Wanted(), True),
        (offer(), Wanted(video=True), False),
        (offer(delivery=("frames",)), Wanted(video=True), True),
        (offer(images=("png",)), Wanted(images=True), True),
        (offer(), Wanted(images=True), False),
        (offer(hears=True), Wanted(audio=True), True),
        (offer(audio=("wav",)), Wanted(audio=True), True),
        (offer(), Wanted(audio=True), False),
        (offer(), Wanted(max_price=Decimal(1)), True),
        (offer(), Wanted(max_price=Decimal("0.99")), False),
        (offer(price=None), Wanted(max_price=Decimal(1000)), False),
        (offer(), Wanted(search="qwen WELL"), True),
        (offer(), Wanted(search="qwen badly"), False),
        (Offer("v", Model(id="x"), None, None), Wanted(video=True), False),
        (Offer("v", Model(id="x"), None, None), Wanted(), True),
    ],
)
def test_a_list_is_filtered_by_what_models_take_and_cost(found, wanted, is_met):
    assert found.meets(wanted) is is_met
