"""telecine models: what can be asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from telecine.cli.common import AsJson, ConfigFile, DataDir, load, print_json, print_table, run
from telecine.cli.parts import opened_registry

if TYPE_CHECKING:
    from telecine.providers.registry import Offer, Offers


def models(
    video: Annotated[bool, typer.Option("--video", help="Only those that take videos.")] = False,
    audio: Annotated[bool, typer.Option("--audio", help="Only those that hear.")] = False,
    images: Annotated[bool, typer.Option("--images", help="Only those that take images.")] = False,
    max_price: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="The most for a million prompt tokens."),
    ] = None,
    search: Annotated[str, typer.Option(help="Words of its name or description.")] = "",
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List the models of every provider that is configured, and the aliases.

    Videos get to a model as a file, as a URL that its server fetches, as a YouTube link, as frames
    and transcript, or decoded here for the embedded models. Prices are for a million tokens.
    """
    settings = load(config, data)

    async def work() -> dict[str, Offers]:
        async with opened_registry(settings) as registry:
            return await registry.offers()

    from telecine.providers.registry import Wanted

    wanted = Wanted(
        video=video,
        audio=audio,
        images=images,
        max_price=None if max_price is None else Decimal(str(max_price)),
        search=search,
    )
    found: list[Offer] = []
    for name, each in run(work()).items():
        if each.problem is not None:
            typer.echo(f"telecine: {name}: {each.problem}", err=True)
        found += [offer for offer in each.offers if offer.meets(wanted)]
    aliases = dict(settings.models.aliases) if wanted == Wanted() else {}
    if as_json:
        from telecine.api.own import described

        print_json({"models": [described(offer) for offer in found], "aliases": aliases})
        return
    columns = ["model", "videos as", "images", "sound", "context", "$ in", "$ out", "as of", "name"]
    rows = [_cells(offer) for offer in found]
    rows += [
        [name, *[None] * (len(columns) - 2), f"alias of {target}"]
        for name, target in aliases.items()
    ]
    print_table(columns, rows)


def _cells(offer: Offer) -> list[object]:
    takes, price = offer.capabilities, offer.price
    return [
        offer.name,
        " ".join(takes.delivery) if takes else None,
        "yes" if takes and takes.images else None,
        "yes" if takes and takes.audio else "of videos" if offer.hears_videos else None,
        takes.context_tokens if takes else offer.model.context_tokens,
        _per_million(price.prompt) if price else None,
        _per_million(price.completion) if price else None,
        (price.dated or price.source) if price else None,
        offer.model.name,
    ]


def _per_million(price: Decimal) -> str:
    return f"{(price * 10**6).normalize():f}"
