"""Hearing: the voice detector, Whisper, and words as they are found in a sound track."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faster_whisper
import numpy as np
import onnxruntime
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens, pad_or_trim
from numpy.typing import NDArray

from telecine.providers.local_child.belief import (
    Hypothesis,
    is_believable,
    is_doubtful,
    likeliest,
)
from telecine.providers.local_child.regions import (
    Guess,
    Region,
    Regions,
    Turn,
    Turns,
    is_telling,
    unheard,
)

RATE = 16000

Samples = NDArray[np.float32]

_VOICE_SAMPLES = 512
_VOICE_CONTEXT = 64
_JUMP_SECONDS = 0.2
_KEPT_SECONDS = 1.0

# Whisper pads to 30 s; it works as well, and four times faster, with a few seconds of silence
# after the speech. Less than 10 s in all makes it loop. A wide beam loops less, too.
_MEL_PER_SECOND = 100
_SILENCE_AFTER = 3 * _MEL_PER_SECOND
_SHORTEST_INPUT = 10 * _MEL_PER_SECOND
_LONGEST_INPUT = 30 * _MEL_PER_SECOND
_GUESS_INPUT = 5 * _MEL_PER_SECOND
_STEP_SECONDS = 0.02
_BEAM = 8
_TOKENS_PER_SECOND = 12
_LONGEST_OUTPUT = 220
_UNHEARD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Said:
    """Words, and when."""

    start: float
    end: float
    language: str
    text: str


class Voice:
    """The voice detector, a stream at a time: samples in, a probability per 32 ms out."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.reset()

    def reset(self) -> None:
        self._state = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._left = np.zeros(_VOICE_CONTEXT, np.float32)

    def listen(self, samples: Samples) -> list[float]:
        """What does not fill a frame waits for the next call."""
        sound = np.concatenate([self._left, samples])
        frames = (len(sound) - _VOICE_CONTEXT) // _VOICE_SAMPLES
        if not frames:
            self._left = sound
            return []
        windows = np.lib.stride_tricks.sliding_window_view(sound, _VOICE_CONTEXT + _VOICE_SAMPLES)
        batch = np.ascontiguousarray(windows[::_VOICE_SAMPLES][:frames])
        self._left = sound[frames * _VOICE_SAMPLES :]
        heard, self._state, self._cell = self._session.run(
            None, {"input": batch, "h": self._state, "c": self._cell}
        )
        return [float(p) for p in heard.reshape(-1)]


class Whisper:
    """One model, loaded from memory, and kept."""

    def __init__(self, files: Mapping[str, bytes], *, threads: int) -> None:
        self._model = faster_whisper.WhisperModel(
            "weights", device="cpu", compute_type="int8", cpu_threads=threads, files=dict(files)
        )
        self.is_multilingual: bool = self._model.model.is_multilingual
        self._tokenizers: dict[str, Any] = {}
        self._suppressed: Sequence[int] = get_suppressed_tokens(self._tokenizer("en"), [-1])

    def guess(self, samples: Samples, expected: str | None) -> Guess:
        """The language. One that is `expected` is believed unless another is all but certain."""
        features = self._features(samples)
        length = min(_LONGEST_INPUT, max(_GUESS_INPUT, features.shape[1] + _MEL_PER_SECOND))
        encoded = self._model.encode(pad_or_trim(features, length))
        likely = self._model.model.detect_language(encoded)[0]
        return likeliest(((token[2:-2], float(p)) for token, p in likely), expected)

    def transcribe(self, samples: Samples, language: str) -> Hypothesis:
        features = self._features(samples)
        length = min(_LONGEST_INPUT, max(_SHORTEST_INPUT, features.shape[1] + _SILENCE_AFTER))
        heard = self._decode(features, length, language)
        if is_doubtful(heard) and length < _LONGEST_INPUT:
            heard = self._decode(features, _LONGEST_INPUT, language)
        return heard

    def _decode(self, features: Any, length: int, language: str) -> Hypothesis:
        tokenizer = self._tokenizer(language)
        prompt = list(tokenizer.sot_sequence)
        seconds = features.shape[1] / _MEL_PER_SECOND
        best = self._model.model.generate(
            self._model.encode(pad_or_trim(features, length)),
            [prompt],
            beam_size=_BEAM,
            max_length=len(prompt) + min(_LONGEST_OUTPUT, 40 + int(_TOKENS_PER_SECOND * seconds)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            max_initial_timestamp_index=round(1 / _STEP_SECONDS),
        )[0]
        tokens = best.sequences_ids[0]
        return Hypothesis(
            tuple(_pieces(tokens, tokenizer, seconds)),
            logprob=best.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech=best.no_speech_prob,
        )

    def _features(self, samples: Samples) -> Any:
        return self._model.feature_extractor(samples)

    def _tokenizer(self, language: str) -> Any:
        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer,
                self._model.model.is_multilingual,
                task="transcribe",
                language=language,
            )
        return self._tokenizers[language]


class Ear:
    """One video's sound, in order: words come out as soon as a turn is over."""

    def __init__(self, whisper: Whisper, voice: Voice, language: str | None) -> None:
        self._whisper = whisper
        self._voice = voice
        self._expected = language
        self._sound: Samples = np.zeros(0, np.float32)
        self._start = 0.0
        self._restart(0.0)

    def hear(self, seconds: float, pcm: bytes) -> Iterator[Said]:
        """`pcm` begins at `seconds`; where it does not follow on, what came before is over."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) * np.float32(1 / 32768)
        if abs(seconds - self._end) > _JUMP_SECONDS:
            yield from self.finish()
            self._restart(seconds)
        self._sound = np.concatenate((self._sound, samples), dtype=np.float32)
        for region in self._regions.feed(self._voice.listen(samples)):
            yield from self._add(region)
        yield from self._transcribed(self._turns.pause(self._regions.quiet_seconds))
        self._forget()

    def finish(self) -> Iterator[Said]:
        """Everything has been heard."""
        for region in self._regions.finish():
            yield from self._add(region)
        yield from self._transcribed(self._turns.finish())

    def _restart(self, seconds: float) -> None:
        self._voice.reset()
        self._regions = Regions(seconds)
        self._turns = Turns(self._expected or "en")
        self._sound = np.zeros(0, np.float32)
        self._start = seconds

    @property
    def _end(self) -> float:
        return self._start + len(self._sound) / RATE

    def _add(self, region: Region) -> Iterator[Said]:
        guess = None
        if self._whisper.is_multilingual and is_telling(region):
            guess = self._whisper.guess(self._cut(region.start, region.end), self._expected)
        yield from self._transcribed(self._turns.add(region, guess))

    def _transcribed(self, turns: Iterable[Turn]) -> Iterator[Said]:
        for turn in turns:
            yield from self._transcribe(turn)

    def _transcribe(self, turn: Turn) -> Iterator[Said]:
        """Whisper may stop before the speech does; what it left is given to it again.

        A turn that makes no sense as a whole is given to it region by region.
        """
        language = turn.language if self._whisper.is_multilingual else "en"
        start, end = turn.start, min(turn.end, self._end)
        while end - start > _STEP_SECONDS:
            heard = self._whisper.transcribe(self._cut(start, end), language)
            if not is_believable(heard, end - start):
                if len(turn.regions) > 1:
                    for region in turn.regions:
                        if region.end > start:
                            yield from self._transcribe(Turn(language, (region,)))
                return
            for since, until, text in heard.pieces:
                yield Said(start + since, min(end, start + until), language, text.strip())
            stopped = start + heard.pieces[-1][1]
            if stopped - start < _UNHEARD_SECONDS or unheard(turn, stopped) < _UNHEARD_SECONDS:
                return
            start = stopped

    def _cut(self, start: float, end: float) -> Samples:
        first = max(0, int((start - self._start) * RATE))
        return self._sound[first : int((end - self._start) * RATE)]

    def _forget(self) -> None:
        """Keep what an open turn or region may still need, and a margin."""
        needed = [s for s in (self._turns.start, self._regions.start) if s is not None]
        keep_from = min(needed, default=self._end) - _KEPT_SECONDS
        drop = int((keep_from - self._start) * RATE)
        if drop > 0:
            self._sound = self._sound[drop:].copy()
            self._start += drop / RATE


def _pieces(
    tokens: Sequence[int], tokenizer: Any, seconds: float
) -> Iterator[tuple[float, float, str]]:
    """Text between time tokens: <|0.00|> words <|2.50|><|2.50|> words <|4.00|>."""
    start, words = 0.0, list[int]()
    for token in tokens:
        if token < tokenizer.timestamp_begin:
            words.append(token)
            continue
        time = min(seconds, (token - tokenizer.timestamp_begin) * _STEP_SECONDS)
        if text := tokenizer.decode(words):
            yield start, max(start, time), text
        start, words = time, []
    if text := tokenizer.decode(words):
        yield start, seconds, text
