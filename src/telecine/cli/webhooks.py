"""telecine webhooks: what was delivered and what was not, replay, keys, a sink to develop with."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from telecine.cli.common import (
    AsJson,
    ConfigFile,
    DataDir,
    Failed,
    load,
    moment,
    prepare,
    print_json,
    print_table,
    run,
)
from telecine.cli.parts import opened_database

if TYPE_CHECKING:
    from telecine.db.base import Row
    from telecine.jobs.deliveries import Deliveries
    from telecine.jobs.signing import SigningKey, SigningKeys
    from telecine.settings import Settings

app = typer.Typer(
    help="See what was delivered, deliver again, try receivers out.", no_args_is_help=True
)


@app.command("list")
def list_(
    state: Annotated[
        Literal["waiting", "delivered", "dead"] | None, typer.Option(help="Dead: given up.")
    ] = None,
    request: Annotated[str | None, typer.Option(metavar="ID", help="Those of one request.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many.")] = 20,
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List the newest deliveries, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with _opened(load(config, data)) as deliveries:
            rows = await deliveries.page(request_id=request, state=state, limit=limit)
        return [_shown(row) for row in rows]

    found = run(work())
    if as_json:
        print_json(found)
        return
    names = ["id", "created_at", "state", "attempt", "last_status", "request_id", "url"]
    columns = ["id", "created", "state", "attempt", "status", "request_id", "url"]
    print_table(columns, [[row[name] for name in names] for row in found])


@app.command()
def show(
    id: Annotated[int, typer.Argument(help="As `telecine webhooks list` shows it.")],
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show a delivery with all its attempts."""

    async def work() -> dict[str, Any]:
        async with _opened(load(config, data)) as deliveries:
            told = await deliveries.find(id)
        return {**_shown(told.row), "attempts": [_attempt(each) for each in told.attempts]}

    found = run(work())
    if as_json:
        print_json(found)
        return
    from telecine.net import shown_text

    attempts = found.pop("attempts")
    for name, value in found.items():
        if value is not None:
            typer.echo(f"{name:<12} {value}")
    for each in attempts:
        each["detail"] = shown_text(each["detail"])
    columns = ["attempt", "at", "seconds", "status", "detail"]
    print_table(columns, [[each[name] for name in columns] for each in attempts])


@app.command()
def replay(
    id: Annotated[int | None, typer.Argument(help="As `telecine webhooks list` shows it.")] = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="The newest delivery of this request.")
    ] = None,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Deliver once more; a running server does it within seconds, else the next one that runs."""
    if (id is None) == (request is None):
        raise Failed("name a delivery, or a request with --request", code=2)

    async def work() -> int:
        async with _opened(load(config, data)) as deliveries:
            if request is not None:
                return await deliveries.replay_request(request)
            assert id is not None
            return await deliveries.replay(id)

    typer.echo(f"delivery {run(work())} is due now")


@app.command("keys")
def keys_(as_json: AsJson = False, data: DataDir = None, config: ConfigFile = None) -> None:
    """Show the public keys that deliveries are signed by."""
    keys = _keys(load(config, data))
    signing, found = keys.signing(), keys.shown()
    if as_json:
        print_json(
            [
                {
                    **key.public(),
                    "created_at": moment(key.created_at),
                    "signs_from": moment(key.signs_from),
                    "signs_now": key.kid == signing.kid,
                }
                for key in found
            ]
        )
        return
    print_table(
        ["kid", "created", "signs from", ""],
        [
            [key.kid, moment(key.created_at), moment(key.signs_from), _role(key, signing)]
            for key in found
        ],
    )


@app.command("rotate-key")
def rotate_key(
    now: Annotated[
        bool, typer.Option("--now", help="The old key leaked: drop it, sign with the new one.")
    ] = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Bring in a new key. It is shown to receivers for a day before it signs; the old one stays
    valid for a week after that. Servers do it by themselves every 90 days."""
    settings = load(config, data)

    async def work() -> SigningKey:
        from telecine import app

        async with (
            opened_database(settings) as db,
            app.opened_signing_keys(settings, db) as keys,
        ):
            return keys.rotate(at_once=now)

    key = run(work())
    typer.echo(f"{key.kid} signs from {moment(key.signs_from)}")


@app.command()
def listen(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8485,
    jwks: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where the public keys are.", show_default="the server's own"
        ),
    ] = None,
    status: Annotated[
        int, typer.Option(min=200, max=599, help="What to answer, to see retries.")
    ] = 200,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Receive webhooks on this machine: verify and print each, and answer --status."""
    from telecine.cli import sink

    run(sink.listen(load(config), port=port, jwks_url=jwks, status=status, as_json=as_json))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Deliveries]:
    from telecine.jobs.bells import Bells
    from telecine.jobs.deliveries import Deliveries

    async with opened_database(settings) as db:
        yield Deliveries(db=db, bells=Bells(), clock=time.time)


def _keys(settings: Settings) -> SigningKeys:
    from telecine.jobs import signing

    prepare(settings.data.dir)
    return signing.SigningKeys(settings.data.dir / signing.FILE, clock=time.time)


def _role(key: SigningKey, signing: SigningKey) -> str:
    if key.kid == signing.kid:
        return "signs now"
    return "next" if key.signs_from > signing.signs_from else "earlier"


def _shown(row: Row) -> dict[str, Any]:
    """A delivery as both forms print it: the URL without its query, which may be a secret."""
    from telecine.net import shown_url

    return {
        "id": row["id"],
        "request_id": row["request_id"],
        "url": shown_url(row["url"]),
        "state": row["state"],
        "attempt": row["attempts"],
        "created_at": moment(row["created_at"]),
        "next_at": moment(row["next_at"]) if row["state"] == "waiting" else None,
        "ended_at": moment(row["ended_at"]),
        **({"last_status": row["status"], "last_detail": row["detail"]} if "detail" in row else {}),
    }


def _attempt(row: Row) -> dict[str, Any]:
    return {**row, "at": moment(row["at"])}
