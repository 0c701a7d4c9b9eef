"""telecine keys: make, list and revoke API keys, also beside a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from telecine.cli.common import (
    AsJson,
    ConfigFile,
    DataDir,
    Failed,
    load,
    moment,
    print_json,
    print_table,
    run,
)
from telecine.cli.parts import opened_keys

if TYPE_CHECKING:
    from telecine.keys import KeyInfo

SCOPES = ("API", "ADMIN")

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    alias: Annotated[str, typer.Option(help="A name to remember it by.")] = "",
    scope: Annotated[
        list[str], typer.Option(help="API: call models. ADMIN: manage keys, see usage. Repeatable.")
    ] = ["API"],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a key and show it; it can not be shown again."""
    scopes = [each.upper() for each in scope]
    if wrong := [each for each in scopes if each not in SCOPES]:
        raise Failed(f"{wrong[0]} is no scope; there are {' and '.join(SCOPES)}", code=2)

    async def work() -> None:
        async with opened_keys(load(config, data)) as keys:
            key = await keys.create(alias, scopes)
        if as_json:
            print_json({"key_id": key.key_id, "key_secret": key.key_secret, "key": key.key})
        else:
            typer.echo(key.key)

    run(work())


@app.command("list")
def list_(as_json: AsJson = False, data: DataDir = None, config: ConfigFile = None) -> None:
    """Show all keys, without their secrets."""

    async def work() -> None:
        async with opened_keys(load(config, data)) as keys:
            found = await keys.list()
        if as_json:
            print_json([_row(key) for key in found])
            return
        cells = [[*{**_row(key), "scopes": " ".join(key.scopes)}.values()] for key in found]
        print_table(["key_id", "alias", "scopes", "created", "last used", "revoked"], cells)

    run(work())


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `telecine keys list` shows it.")],
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a key invalid; servers notice within seconds."""

    async def work() -> None:
        async with opened_keys(load(config, data)) as keys:
            await keys.revoke(key_id.partition(":")[0])

    run(work())


def _row(key: KeyInfo) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "alias": key.alias,
        "scopes": list(key.scopes),
        "created_at": moment(key.created_at),
        "last_used_at": moment(key.last_used_at),
        "revoked_at": moment(key.revoked_at),
    }
