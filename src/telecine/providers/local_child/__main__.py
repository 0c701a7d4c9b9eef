"""The loop: load what a task needs once, then do one task after another until the pipe closes.

Tasks and their answers, in the frames of `telecine.processes`:
    {"task": "load", "engine": "speech" | "text"}           -> {"model": ..., "source": ...,
                                                                "seconds": ...}
    {"task": "listen", "language": "de" | null}             begin with a new sound track
    {"task": "hear", "seconds": ...} + PCM                  -> {"said": {...}}, any number
    {"task": "hush"}                                        the track is over -> the same
    {"task": "look"}                                        begin with new pictures
    {"task": "read", "width": ..., "height": ...} + RGB     -> {"lines": [...]}, or
                                                               {"lines": null}: as the last one
Each ends with {"end": true}, and each answer repeats the "number" of its task. They are small, so
that stopping means to send no more of them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from telecine.processes import pack, read_messages, take_stdout
from telecine.providers import local_weights as weights

if TYPE_CHECKING:
    from telecine.providers.local_child.speech import Ear, Voice, Whisper
    from telecine.providers.local_child.text import Gate, Reader

_NICE = 10


def main() -> None:
    weights_dir, threads = sys.argv[1], int(sys.argv[2])
    out = take_stdout()
    stay_offline()
    if hasattr(os, "nice"):
        os.nice(_NICE)  # whoever waits for the gateway goes first
    engines = Engines(Path(weights_dir) if weights_dir else None, threads)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        for task, payload in read_messages(sys.stdin.buffer):
            _answer(engines, task, payload, out)


def stay_offline() -> None:
    """From here on no Python code in this process can make, bind or connect a socket, or ask DNS.

    Nothing here needs a network, and one of the libraries would look for newer models on it.
    """
    refused = ("socket.", "http.client.", "urllib.", "ftplib.")

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith(refused):
            raise PermissionError(f"the local models work offline; something wanted {event}")

    sys.addaudithook(refuse)


class Engines:
    """The models that were asked for so far, and where the present video is."""

    def __init__(self, weights_dir: Path | None, threads: int) -> None:
        self._weights_dir = weights_dir
        self._threads = threads
        self._loaded: dict[str, weights.Found] = {}
        self._whisper: Whisper | None = None
        self._voice: Voice | None = None
        self._reader: Reader | None = None
        self._ear: Ear | None = None
        self._gate: Gate | None = None

    def run(self, task: dict[str, Any], payload: bytes) -> Iterator[dict[str, Any]]:
        # NumPy and the engines take a while to import: each comes with the first task for it.
        match task["task"]:
            case "load":
                yield self._load(task["engine"])
            case "listen":
                from telecine.providers.local_child.speech import Ear

                assert self._whisper, "load speech first"
                assert self._voice
                self._ear = Ear(self._whisper, self._voice, task["language"])
            case "hear":
                assert self._ear, "listen first"
                for said in self._ear.hear(task["seconds"], payload):
                    yield {"said": asdict(said)}
            case "hush":
                assert self._ear, "listen first"
                for said in self._ear.finish():
                    yield {"said": asdict(said)}
                self._ear = None
            case "look":
                from telecine.providers.local_child.text import Gate

                self._gate = Gate()
            case "read":
                yield {"lines": self._read(payload, task["width"], task["height"])}
            case other:
                raise ValueError(f"unknown task {other!r}")

    def _load(self, engine: str) -> dict[str, Any]:
        """`seconds` is 0 when it was there already."""
        begun = time.monotonic()
        is_new = engine not in self._loaded
        if is_new:
            self._loaded[engine] = self._load_speech() if engine == "speech" else self._load_text()
        found = self._loaded[engine]
        seconds = round(time.monotonic() - begun, 2) if is_new else 0
        return {"model": found.published.name, "source": found.source, "seconds": seconds}

    def _load_speech(self) -> weights.Found:
        from telecine.providers.local_child.speech import Voice, Whisper

        detector = weights.read(weights.voice())
        found = weights.speech(self._weights_dir)
        self._voice = Voice(detector["silero_vad_v6.onnx"])
        self._whisper = Whisper(weights.read(found), threads=self._threads)
        return found

    def _load_text(self) -> weights.Found:
        from telecine.providers.local_child.text import Reader

        found = weights.text()
        self._reader = Reader(weights.read(found), threads=self._threads)
        return found

    def _read(self, rgb: bytes, width: int, height: int) -> list[dict[str, Any]] | None:
        from telecine.providers.local_child.text import picture

        assert self._reader, "load text first"
        assert self._gate, "look first"
        frame = picture(rgb, width, height)
        if not self._gate.is_new(frame):
            return None
        return [asdict(line) for line in self._reader.read(frame)]


def _answer(engines: Engines, task: dict[str, Any], payload: bytes, out: BinaryIO) -> None:
    number = {"number": task["number"]}
    try:
        for head in engines.run(task, payload):
            out.write(pack({**head, **number}))
            out.flush()
        last: dict[str, Any] = {"end": True}
    except BrokenPipeError:
        raise
    except (weights.WeightsMissing, weights.WeightsWrong) as error:
        last = {"error": str(error), "kind": "weights"}
    except ImportError as error:
        last = {"error": f"{error}. Run: {weights.INSTALL}", "kind": "weights"}
    except MemoryError:
        last = {"error": "there is not enough memory for the local models", "kind": "memory"}
    except Exception as error:  # noqa: BLE001 - whatever an engine raises fails this task only
        traceback.print_exc()  # goes to the parent's log
        last = {"error": f"{type(error).__name__}: {error}", "kind": "failed"}
    out.write(pack({**last, **number}))
    out.flush()


if __name__ == "__main__":
    main()
