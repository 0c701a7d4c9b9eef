"""telecine models: what can be asked for."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from telecine.cli.common import AsJson, ConfigFile, DataDir, load, print_json, print_table, run
from telecine.cli.parts import opened_providers

if TYPE_CHECKING:
    from telecine.providers.base import Provider


def models(as_json: AsJson = False, data: DataDir = None, config: ConfigFile = None) -> None:
    """List the models of every provider that is configured, and the aliases."""
    settings = load(config, data)

    async def work() -> list[list[dict[str, Any]]]:
        async with opened_providers(settings) as providers:
            return await asyncio.gather(*map(_listed, providers.values()))

    found = [model for models in run(work()) for model in models]
    found += [
        {"id": name, "name": f"alias of {target}"}
        for name, target in settings.models.aliases.items()
    ]
    if as_json:
        print_json(found)
        return
    columns = ["model", "takes", "context", "$ per million in", "out", "name"]
    print_table(columns, [_cells(model) for model in found])


async def _listed(provider: Provider) -> list[dict[str, Any]]:
    """A provider's models; one that can not be asked is said on stderr, and the others go on."""
    from telecine.errors import TelecineError

    try:
        async with asyncio.timeout(15):
            models = await provider.models()
    except (TelecineError, TimeoutError) as error:
        says = str(error) or "no answer within 15 s"
        typer.echo(f"telecine: {provider.name}: {says}", err=True)
        return []
    return [{**asdict(model), "id": f"{provider.name}/{model.id}"} for model in models]


def _cells(model: dict[str, Any]) -> list[object]:
    return [
        model["id"],
        " ".join(model.get("input_modalities", ())),
        model.get("context_tokens"),
        _per_million(model.get("price_prompt")),
        _per_million(model.get("price_completion")),
        model.get("name"),
    ]


def _per_million(price: str | None) -> str | None:
    return None if price is None else f"{float(price) * 1_000_000:g}"
