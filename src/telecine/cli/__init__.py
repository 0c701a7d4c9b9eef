"""The command `telecine`. One file per command; what is heavy is imported when it runs."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from telecine import __version__
from telecine.cli import (
    backup,
    doctor,
    exec,  # noqa: A004
    fake_upstream,
    keys,
    migrate,
    models,
    plan,
    requests,
    run,
    serve,
    usage,
    webhooks,
    worker,
)
from telecine.cli.common import Failed
from telecine.errors import InputError, Problem, TelecineError
from telecine.settings import SettingsError

app = typer.Typer(
    name="telecine",
    help="fal's video router on your own machine: prompt + videos in; text, usage and cost out.",
    epilog="Exit codes: 0 done, 1 it failed, 2 wrong settings or arguments, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("exec", context_settings={"allow_interspersed_args": False})(exec.exec_)
app.add_typer(keys.app, name="keys")
app.command("models")(models.models)
app.command("requests")(requests.requests)
app.command("usage")(usage.usage)
app.add_typer(webhooks.app, name="webhooks")
app.command("doctor")(doctor.doctor)
app.command("fake-upstream")(fake_upstream.fake_upstream)
app.command("migrate")(migrate.migrate)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Say the version and end.")] = False,
) -> None:
    if version:
        typer.echo(f"telecine {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line. What goes wrong is said in a sentence; TELECINE_DEBUG=1 shows where."""
    umask = os.umask(0o077)  # whatever is written is the user's alone
    try:
        app(obj=umask)  # for the programs that exec runs
    except Exception as error:  # noqa: BLE001 - the last one to see it; it is told, not hidden
        if os.environ.get("TELECINE_DEBUG"):
            traceback.print_exc()
        sys.exit(_tell(error))


def _tell(error: Exception) -> int:
    """Say what went wrong; gives the exit code."""
    match error:
        case ExceptionGroup(exceptions=[only]):  # of a server: what ended it says more
            return _tell(only)
        case SettingsError():
            for problem in error.problems:
                _say(problem)
            return 2
        case Failed():
            _say(str(error))
            return error.code
        case InputError():
            for each in error.problems:
                _say(_named(each))
            return 1
        case TelecineError():
            _say(error.message)
            return 1
        case _:
            _say(f"this should not have happened ({type(error).__name__}: {error})")
            _say("TELECINE_DEBUG=1 shows where; please report it")
            return 1


def _named(problem: Problem) -> str:
    """Which of several videos it is, counted from one as in the log."""
    match problem.loc:
        case ("body", "video_urls", int(index)):
            return f"video {index + 1}: {problem.msg}"
        case _:
            return problem.msg


def _say(sentence: str) -> None:
    typer.echo(f"telecine: {sentence}", err=True)
