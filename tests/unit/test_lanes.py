"""Which jobs line up together: as the registry resolves their models."""

from pathlib import Path

import pytest

from telecine.app import LOCAL_JOBS, lanes
from telecine.errors import TelecineError
from telecine.jobs.gate import Lane
from telecine.providers import local_weights
from telecine.providers.echo import Echo
from telecine.providers.local import Local
from telecine.providers.registry import Registry
from telecine.settings import Data, Jobs, Models, ProviderSettings, Settings

ALIASES = {"mine": "local/report", "loud": "echo/echo", "local/odd": "echo/echo", "bare": "read"}
NAMES = (
    "local/report",
    "local/none",
    "second/read",
    "local/",
    "local",
    "local/odd",
    "mine",
    "loud",
    "bare",
    "transcribe",
    "google/gemini-2.5-flash",
    "echo/echo",
    "echo",
    "*",
    "",
)


def registry(aliases):
    local = {name: Local(name, weights_dir=None, threads=1) for name in ("local", "second")}
    return Registry({"echo": Echo("echo"), **local}, aliases)


def settings(aliases, **jobs):
    types = {"echo": "echo", "local": "local", "second": "local"}
    providers = {name: ProviderSettings(type=kind) for name, kind in types.items()}
    return Settings(
        data=Data(dir=Path("/nowhere")),
        jobs=Jobs(**jobs),
        models=Models(aliases=aliases),
        providers=providers,
    )


@pytest.mark.parametrize("aliases", [ALIASES, {**ALIASES, "*": "local/read"}, {"*": "report"}])
@pytest.mark.parametrize("model", NAMES)
def test_what_goes_to_an_embedded_provider_is_in_its_lane_and_nothing_else(
    run, monkeypatch, aliases, model
):
    monkeypatch.setattr(local_weights, "engines_missing", lambda *_: [])

    async def work():
        known = registry(aliases)
        lane = (await lanes(settings(aliases, running_per_model=5), known))(model)
        try:
            provider = (await known.resolve(model)).provider
        except TelecineError:
            return
        if isinstance(provider, Local):
            assert lane == Lane(provider.name, LOCAL_JOBS, counts_live=False)
        else:
            assert lane == Lane(model, 5)

    run(work())


@pytest.mark.parametrize(("most", "limit"), [(0, 2), (1, 1), (9, 2)])
def test_a_lower_limit_per_model_holds_there_too(run, most, limit):
    async def work():
        lane = await lanes(settings({}, running_per_model=most), registry({}))
        assert lane("local/report").limit == limit
        assert lane("echo/echo").limit == most

    run(work())
