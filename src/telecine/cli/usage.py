"""telecine usage: tokens and cost, from the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from telecine.cli.common import AsJson, ConfigFile, DataDir, load, print_json, print_table, run
from telecine.cli.parts import opened_database

if TYPE_CHECKING:
    from telecine.db.base import Row, Transaction


def usage(
    days: Annotated[float, typer.Option(min=0, help="How far back.")] = 30,
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Add up tokens and cost per model."""

    async def operation(tx: Transaction) -> list[Row]:
        return await tx.fetch("report_usage", since=time.time() - days * 86400)

    async def work() -> list[Row]:
        async with opened_database(load(config, data)) as db:
            return await db.read(operation)

    totals = per_model(run(work()))
    if as_json:
        print_json(totals)
        return
    columns = ["provider", "model", "calls", "tokens in", "tokens out", "cost $", "unknown cost"]
    print_table(columns, [[*total.values()] for total in totals])


def per_model(entries: Iterable[Row]) -> list[dict[str, Any]]:
    """One total per provider and model. Costs are exact decimals, as text; calls whose cost nobody
    told are counted beside them."""
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        total = totals.setdefault(
            (entry["provider"], entry["model"]),
            {
                "provider": entry["provider"],
                "model": entry["model"],
                "calls": 0,
                "prompt_tokens": 0,
                "completion_tokens": 0,
                "cost": Decimal(0),
                "calls_of_unknown_cost": 0,
            },
        )
        total["calls"] += 1
        total["prompt_tokens"] += entry["prompt_tokens"]
        total["completion_tokens"] += entry["completion_tokens"]
        if entry["cost"] is None:
            total["calls_of_unknown_cost"] += 1
        else:
            total["cost"] += Decimal(entry["cost"])
    return [{**totals[pair], "cost": f"{totals[pair]['cost']:f}"} for pair in sorted(totals)]
