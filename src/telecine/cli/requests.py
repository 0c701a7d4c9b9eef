"""telecine requests: what was asked lately, and how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from telecine.cli.common import (
    AsJson,
    ConfigFile,
    DataDir,
    load,
    moment,
    print_json,
    print_table,
    run,
)
from telecine.cli.parts import opened_database

if TYPE_CHECKING:
    from telecine.db.base import Row, Transaction

_TIMES = ("created_at", "started_at", "finished_at")


def requests(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many.")] = 20,
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List the newest requests, newest first."""

    async def operation(tx: Transaction) -> list[Row]:
        return await tx.fetch("report_requests", limit=limit)

    async def work() -> list[dict[str, Any]]:
        async with opened_database(load(config, data)) as db:
            found = [dict(row) for row in await db.read(operation)]
        return [{**row, **{name: moment(row[name]) for name in _TIMES}} for row in found]

    found = run(work())
    if as_json:
        print_json(found)
        return
    columns = ["created", "state", "seconds", "tokens", "mode", "model", "request_id"]
    names = [
        "created_at", "state", "inference_seconds", "total_tokens", "mode", "model", "id",
    ]  # fmt: skip
    print_table(columns, [[row[name] for name in names] for row in found])
