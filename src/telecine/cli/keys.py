"""telecine keys: make, list and revoke API keys, also beside a running server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
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
from telecine.models import KeyLimits

if TYPE_CHECKING:
    from telecine.keys import KeyInfo

SCOPES = ("API", "CALL", "FILES", "ADMIN")

Alias = Annotated[str | None, typer.Option(help="A name to remember it by.", show_default=False)]
Expires = Annotated[
    str | None,
    typer.Option(
        metavar="DAYS|DATE|never", help="When it ends: 30, or 2027-01-31.", show_default="never"
    ),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        help='The only models it may ask; "google/*" is all that begin so. Repeatable.',
        show_default="all",
    ),
]
PerMinute = Annotated[
    int | None, typer.Option(help="Calls a minute; 0: no limit.", min=0, show_default="no limit")
]
Running = Annotated[
    int | None,
    typer.Option(help="Requests at once; 0: no limit.", min=0, show_default="the server's"),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="USD", help="Dollars that it may spend; 0: no limit.", show_default="no limit"
    ),
]
BudgetPer = Annotated[str | None, typer.Option(help="day, month or total.", show_default="month")]

KeyId = Annotated[str, typer.Argument(help="As `telecine keys list` shows it.")]

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    alias: Alias = None,
    scope: Annotated[
        list[str],
        typer.Option(
            help="API: call models and handle files; CALL or FILES: one of them. "
            "ADMIN: everything, other keys too. Repeatable."
        ),
    ] = ["API"],  # noqa: B006 - typer copies it
    expires: Expires = None,
    model: Model = None,
    per_minute: PerMinute = None,
    running: Running = None,
    budget: Budget = None,
    budget_per: BudgetPer = None,
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a key and show it; it can not be shown again."""
    scopes = [each.upper() for each in scope]
    if wrong := [each for each in scopes if each not in SCOPES]:
        raise Failed(f"{wrong[0]} is no scope; there are {', '.join(SCOPES)}", code=2)
    limits = _limited(KeyLimits(), model, per_minute, running, budget, budget_per)
    expires_at = _end(expires)

    async def work() -> None:
        async with opened_keys(load(config, data)) as keys:
            key = await keys.create(alias or "", scopes, expires_at=expires_at, limits=limits)
        if as_json:
            print_json({"key_id": key.key_id, "key_secret": key.key_secret, "key": key.key})
        else:
            typer.echo(key.key)

    run(work())


@app.command()
def change(
    key_id: KeyId,
    alias: Alias = None,
    expires: Expires = None,
    model: Model = None,
    per_minute: PerMinute = None,
    running: Running = None,
    budget: Budget = None,
    budget_per: BudgetPer = None,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Change what a key may do; what is not named stays. Servers notice within seconds."""

    async def work() -> None:
        async with opened_keys(load(config, data)) as keys:
            wanted = key_id.partition(":")[0]
            found = {key.key_id: key for key in await keys.list() if key.revoked_at is None}
            key = found.get(wanted)
            if key is None:
                raise Failed(f"there is no valid key {wanted}")
            now = key.expires_at.timestamp() if key.expires_at else None
            await keys.limit(
                wanted,
                alias=key.alias if alias is None else alias,
                expires_at=now if expires is None else _end(expires),
                limits=_limited(key.limits, model, per_minute, running, budget, budget_per),
            )
        typer.echo(f"changed {wanted}", err=True)

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
        columns = ["key_id", "alias", "scopes", "created", "last used", "ends", "revoked", "limits"]
        print_table(columns, [_cells(key) for key in found])

    run(work())


@app.command()
def revoke(
    key_id: KeyId,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a key invalid; servers notice within seconds."""

    async def work() -> None:
        wanted = key_id.partition(":")[0]
        async with opened_keys(load(config, data)) as keys:
            await keys.revoke(wanted)
        typer.echo(f"revoked {wanted}", err=True)

    run(work())


def _row(key: KeyInfo) -> dict[str, Any]:
    limits = key.limits
    return {
        "key_id": key.key_id,
        "alias": key.alias,
        "scopes": list(key.scopes),
        "created_at": moment(key.created_at),
        "last_used_at": moment(key.last_used_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "models": list(limits.models),
        "per_minute": limits.per_minute,
        "running": limits.running,
        "budget": None if limits.budget is None else f"{limits.budget.normalize():f}",
        "budget_per": limits.budget_per,
    }


def _cells(key: KeyInfo) -> list[object]:
    row, limits = _row(key), key.limits
    said = [
        " ".join(limits.models),
        f"{limits.per_minute} a minute" if limits.per_minute else "",
        f"{limits.running} at once" if limits.running else "",
        f"${row['budget']} per {limits.budget_per}" if limits.budget else "",
    ]
    times = [row[name] for name in ("created_at", "last_used_at", "expires_at", "revoked_at")]
    return [key.key_id, key.alias, " ".join(key.scopes), *times, ", ".join(filter(None, said))]


def _limited(
    limits: KeyLimits,
    models: list[str] | None,
    per_minute: int | None,
    running: int | None,
    budget: str | None,
    budget_per: str | None,
) -> KeyLimits:
    """`limits` with what was given; 0 takes one away."""
    if models:
        limits = replace(limits, models=tuple(models))
    if per_minute is not None:
        limits = replace(limits, per_minute=per_minute or None)
    if running is not None:
        limits = replace(limits, running=running or None)
    if budget is not None:
        limits = replace(limits, budget=_dollars(budget) or None)
    match budget_per:
        case None:
            return limits
        case "day" | "month" | "total":
            return replace(limits, budget_per=budget_per)
    raise Failed(f"--budget-per is day, month or total, not {budget_per}", code=2)


def _dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= 10**9:
        raise Failed(f"--budget is an amount of dollars such as 5 or 0.50, not {text}", code=2)
    return amount


def _end(text: str | None) -> float | None:
    """Epoch seconds of a number of days from now, or of a day's end in UTC."""
    if text is None or text == "never":
        return None
    now = datetime.now(UTC)
    try:
        end = (
            now + timedelta(days=float(text))
            if text.replace(".", "", 1).isdecimal()
            else datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1)
        )
    except (ValueError, OverflowError):
        end = now
    if end <= now:
        raise Failed(f"--expires is a number of days, a date to come or never, not {text}", code=2)
    return end.timestamp()
