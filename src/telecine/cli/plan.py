"""telecine plan: what would be sent of some videos, and what it would cost. No model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from telecine.cli import common
from telecine.cli.common import AsJson, ConfigFile, DataDir
from telecine.cli.run import request_for, source

if TYPE_CHECKING:
    from telecine.settings import Settings

_FORMS = {
    "file": "as a file",
    "url": "as its address",
    "link": "as a YouTube link",
    "frames": "as stills",
    "decoded": "opened on this machine",
}
_UNITS = {"start": " s", "end": " s", "fps": " a second", "max_side": " pixels"}
_WORK = {
    "start": "from",
    "end": "to",
    "fps": "pictures:",
    "max_side": "longest side:",
    "without_audio": "without sound",
    "max_bytes": "bytes, at most:",
}


def plan(
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO...", help="Files, or URLs of videos.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="As `telecine models` shows it.")
    ] = "local/report",
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="Its length counts.", show_default=False)
    ] = "Describe the video.",
    fps: Annotated[
        float | None, typer.Option(help="Frames a second to look at.", show_default=False)
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="From this second on.", show_default=False)
    ] = None,
    end: Annotated[
        float | None, typer.Option(help="Up to this second.", show_default=False)
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(help="Frames of one video, at most.", show_default=False)
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(help="low, medium or high.", show_default=False)
    ] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")] = False,
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show how videos would get to a model, and what that would cost. No model is asked.

    Videos named by a URL are fetched, as their length and size decide.
    """
    options = {
        "fps": fps,
        "start": start,
        "end": end,
        "max_frames": max_frames,
        "resolution": resolution,
        "audio": False if no_audio else None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    document = {"prompt": prompt, "model": model, **given}
    sources = [source(name) for name in videos]
    found = common.run(_planned(common.load(config, data), document, sources))
    if as_json:
        common.print_json(found)
    else:
        _print(found)


async def _planned(
    settings: Settings, document: dict[str, Any], sources: list[str | Path]
) -> dict[str, Any]:
    from telecine.api.own import estimated
    from telecine.cli.parts import opened_inference

    async with opened_inference(settings) as inference:
        return estimated(await inference.plan(request_for(document, sources)))


def _print(found: dict[str, Any]) -> None:
    made = found["plan"]
    rows = [("model", f"{found['model']} ({found['provider']}: {found['provider_model']})")]
    for video in made["videos"]:
        rows += _video_rows(video)
    stretches = len(made["segments"])
    if stretches:
        rows.append(("calls", f"{stretches}, one for each stretch, and one that joins them"))
    rows.append(("tokens", _amount(found["prompt_tokens"], "of prompt, estimated")))
    rows.append(("cost", _cost(found["cost"])))
    rows += [("warning", warning) for warning in found["warnings"]]
    common.print_table(["what", "how"], rows)


def _video_rows(video: dict[str, Any]) -> list[tuple[str, str]]:
    until = "its end" if video["end"] is None else f"{video['end']:g} s"
    stretch = f"{video['start']:g} s to {until}"
    rows = [(f"video {video['index'] + 1}", f"{_FORMS[video['as']]}, {stretch}")]
    if stills := video.get("frames"):
        words = ", with what is said" if stills["transcript"] else ""
        size = f"longest side {stills['max_side']} pixels"
        rows.append(("", f"{stills['count']} stills, {stills['fps']:g} a second, {size}{words}"))
    if work := video.get("work"):
        rows.append(("  made", ", ".join(_done(name, value) for name, value in work.items())))
    if view := video.get("view"):
        told = ", ".join(f"{name} {value}" for name, value in view.items())
        rows.append(("  told", told))
    rows += [("  why", reason) for reason in video["why"]]
    return rows


def _done(name: str, value: Any) -> str:
    if value is True:
        return _WORK[name]
    amount = f"{value}" if isinstance(value, int) else f"{value:g}"
    return f"{_WORK[name]} {amount}{_UNITS.get(name, '')}"


def _amount(count: int | None, what: str) -> str:
    return "not known" if count is None else f"{count} {what}"


def _cost(cost: dict[str, Any]) -> str:
    low, high = cost["low"], cost["high"]
    if low is None:
        return "not known"
    dated = f" of {cost['dated']}" if cost["dated"] else ""
    until = f", with the longest answer ${high}" if high is not None else ""
    return f"${low} without a word of answer{until} (prices: {cost['source']}{dated})"
