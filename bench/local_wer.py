"""How well the embedded models hear and read: word errors, text found, time and memory per clip.

    python bench/local_wer.py FOLDER [CLIP...]

FOLDER holds clips and a `media.json` that says, for each, what is spoken and what is on the
screen (`files`: `file`, `opens`, `video`, `speech`: [{`text`}], `on_screen_text`: [{`text`}]).
Words are compared in lower case, without punctuation, "-" as a space, "Mr." as "mister", the digits
one to three as words; "cleanrooms" is "clean rooms" and "Webb" is "Web".
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telecine.errors import TelecineError
from telecine.media.pool import Pool
from telecine.models import Call, DecodedPart, Delta, Video
from telecine.providers.local import Local

_DIGITS = {"1": "one", "2": "two", "3": "three"}


@dataclass(frozen=True, slots=True)
class Row:
    """One clip's figures."""

    file: str
    seconds: float
    words: int
    errors: int
    texts: int
    texts_found: int
    texts_false: tuple[str, ...]
    took: float
    first_text: float | None
    answer: dict[str, Any]

    @property
    def heard(self) -> str:
        return " ".join(entry["text"] for entry in self.answer.get("speech", ()))


def normal(text: str) -> list[str]:
    """Words as they are compared."""
    text = text.lower().replace("mr.", "mister").replace("-", " ")
    text = text.replace("cleanrooms", "clean rooms")
    text = re.sub(r"\bwebb\b", "web", text)
    text = "".join(c for c in text if c.isalnum() or c.isspace())
    return [_DIGITS.get(word, word) for word in text.split()]


def word_errors(truth: Sequence[str], heard: Sequence[str]) -> int:
    """Words to insert, delete or replace to get from one to the other."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(truth, 1):
        before, row[0] = row[:], i
        for j, other in enumerate(heard, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other))
    return row[-1]


def texts_found(truth: Iterable[str], read: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """How many true texts are there, over several lines too; and the lines that are in none."""
    folded = [_folded(line) for line in read]
    everything = "".join(folded)
    wanted = [_folded(text) for text in truth]
    found = sum(text in folded or text in everything for text in wanted)
    false = [
        line
        for line, fold in zip(read, folded, strict=True)
        if not any(fold in text for text in wanted)
    ]
    return found, tuple(false)


def _folded(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


async def measure(local: Local, pool: Pool, folder: Path, clip: dict[str, Any]) -> Row | None:
    path = folder / clip["file"]
    try:
        probe = await pool.probe(path)
        video = Video(
            index=0,
            found="path",
            origin=path.name,
            loc=("body", "video_urls", 0),
            path=path,
            bytes=path.stat().st_size,
            sha256="",
            container=probe.container,
            mime=probe.mime,
            seconds=probe.seconds,
            width=probe.width,
            height=probe.height,
            fps=probe.fps,
            rotation=probe.rotation,
            video_codec=probe.video_codec,
            audio_codec=probe.audio_codec,
            warnings=probe.warnings,
        )
        text, took, first = await _ask(local, DecodedPart(video, pool))
    except TelecineError as error:
        print(f"{clip['file']:32} {error.message}")
        return None
    answer = json.loads(text)["videos"][0]
    truth = normal(" ".join(said["text"] for said in clip.get("speech") or ()))
    heard = normal(" ".join(entry["text"] for entry in answer["speech"]))
    read = [t for e in answer["on_screen_text"] for t in e.get("readings", [e["text"]])]
    shown = [entry["text"] for entry in clip.get("on_screen_text") or ()]
    found, false = texts_found(shown, read)
    return Row(
        clip["file"],
        video.seconds or 0.0,
        len(truth),
        word_errors(truth, heard),
        len(shown),
        found,
        false,
        took,
        first,
        answer,
    )


async def _ask(local: Local, part: DecodedPart) -> tuple[str, float, float | None]:
    call = Call(request_id="bench", model="report", prompt="JSON", parts=(part,))
    begun, first, text = time.monotonic(), None, ""
    async with aclosing(local.generate(call)) as events:
        async for event in events:
            if isinstance(event, Delta):
                if first is None and '"text"' in event.text:
                    first = time.monotonic() - begun
                text += event.text
    return text, time.monotonic() - begun, first


def show(row: Row) -> None:
    rate = f"{100 * row.errors / row.words:5.1f} %" if row.words else f"{row.errors:3} extra"
    first = f"{row.first_text:5.1f}" if row.first_text is not None else "    -"
    print(
        f"{row.file:32} {row.seconds:6.1f} {row.words:4} {rate} {row.took:6.1f} "
        f"{row.took / row.seconds if row.seconds else 0:5.2f} {first} "
        f"{row.texts_found:2}/{row.texts:<2} {len(row.texts_false):2}",
        flush=True,
    )


def peak_megabytes(pid: int | None) -> int:
    """The most memory that the model's process ever held (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+)", status)
    return int(match.group(1)) // 1024 if match else 0


async def main(folder: Path, names: Sequence[str]) -> None:
    clips = [
        clip
        for clip in json.loads((folder / "media.json").read_text())["files"]
        if (clip["file"] in names if names else clip["opens"])
    ]
    rows: list[Row] = []
    async with (
        Pool(size=1, memory_bytes=1 << 30, cpu_seconds=600) as pool,
        Local("local", weights_dir=None, threads=2) as local,
    ):
        print(f"{'clip':32}      s word     WER   took   RTF first text false")
        for clip in clips:
            if row := await measure(local, pool, folder, clip):
                rows.append(row)
                show(row)
        peak = peak_megabytes(local._engine.pid)  # noqa: SLF001
    for row in rows:
        if row.errors or row.texts_false or row.texts_found < row.texts:
            print(f"\n{row.file}\n  heard: {row.heard}\n  false text: {list(row.texts_false)}")
    words, errors = sum(r.words for r in rows), sum(r.errors for r in rows)
    seconds, took = sum(r.seconds for r in rows), sum(r.took for r in rows)
    print(
        f"\nall: {errors} errors in {words} words ({100 * errors / max(1, words):.1f} %), "
        f"{sum(r.texts_found for r in rows)} of {sum(r.texts for r in rows)} texts found, "
        f"{sum(len(r.texts_false) for r in rows)} false lines, "
        f"{took:.0f} s for {seconds:.0f} s of video, peak {peak} MB"
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
