"""Keys and signatures of webhooks."""

import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from telecine.errors import TelecineError
from telecine.jobs import signing
from telecine.jobs.signing import SigningKeys, problem

DAY = 24 * 3600.0
BODY = b'{"request_id":"r","status":"OK"}'


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(tmp_path, clock):
    return SigningKeys(tmp_path / "keys.json", clock=clock)


def verified(jwks, headers, body):
    """As fal's documentation has it, by the `x` of the keys alone."""
    message = "\n".join(
        [
            headers["X-Fal-Webhook-Request-Id"],
            headers["X-Fal-Webhook-User-Id"],
            headers["X-Fal-Webhook-Timestamp"],
            hashlib.sha256(body).hexdigest(),
        ]
    ).encode()
    for key in jwks["keys"]:
        raw = base64.urlsafe_b64decode(key["x"] + "==")
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(
                bytes.fromhex(headers["X-Fal-Webhook-Signature"]), message
            )
        except InvalidSignature:
            continue
        return True
    return False


# ---------------------------------------------------------------- signatures


def test_a_delivery_is_verified_by_the_x_of_the_shown_keys(keys):
    headers = keys.sign("r", "u", BODY)
    assert headers["X-Fal-Webhook-Timestamp"] == "1800000000"
    assert verified(keys.jwks(), headers, BODY)
    assert not verified(keys.jwks(), headers, BODY + b" ")
    for name in ("Request-Id", "User-Id", "Timestamp"):
        assert not verified(keys.jwks(), {**headers, f"X-Fal-Webhook-{name}": "1"}, BODY)


def test_our_own_check_agrees(keys, clock):
    headers, jwks = keys.sign("r", "u", BODY), keys.jwks()
    assert problem(headers, BODY, jwks, now=clock.now + 299) is None
    assert problem(headers, BODY, jwks, now=clock.now + 301) == "signed 301 s ago"
    assert problem(headers, BODY, jwks, now=clock.now - 301) == "signed 301 s ahead of this clock"
    assert problem(headers, b"", jwks, now=clock.now) == "the signature is of none of the keys"
    assert problem(headers, BODY, {}, now=clock.now) == "the signature is of none of the keys"
    assert problem({}, BODY, jwks, now=clock.now).startswith("not signed")


@given(st.dictionaries(st.sampled_from([signing.SIGNATURE, signing.TIMESTAMP]), st.text()))
def test_no_header_makes_the_check_fail(headers):
    assert problem(headers, b"", {"keys": [{}, {"x": "A"}, {"x": "é"}]}, now=0)


def test_the_public_keys_have_every_member_and_no_private_one(keys):
    (key,) = keys.jwks()["keys"]
    assert {**key, "x": "", "kid": ""} == {
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "x": "", "kid": "",
    }  # fmt: skip
    assert len(base64.urlsafe_b64decode(key["x"] + "==")) == 32
    assert "=" not in key["x"] + key["kid"]


# ---------------------------------------------------------------- the file


def test_the_file_is_private_from_the_start_and_stays_so(keys, tmp_path):
    keys.signing()
    path = tmp_path / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.chmod(path, 0o644)
    SigningKeys(path, clock=Clock()).signing()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]


def test_keys_outlive_the_process(keys, tmp_path, clock):
    assert SigningKeys(tmp_path / "keys.json", clock=clock).jwks() == keys.jwks()


def test_everybody_who_starts_at_once_has_the_same_key(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from telecine.jobs.signing import SigningKeys;"
        "print(SigningKeys(Path(sys.argv[1]), clock=time.time).signing().kid)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "keys.json")]
    with ThreadPoolExecutor(4) as threads:
        started = [
            threads.submit(subprocess.run, command, capture_output=True, check=True)
            for _ in range(4)
        ]
        assert len({each.result().stdout for each in started}) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys":[{}]}', '{"keys":[{"d":"AA"}]}', "\xff"])
def test_a_broken_file_is_told_and_left_alone(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(TelecineError, match=r"does not hold the keys that sign webhooks; restore"):
        SigningKeys(path, clock=Clock()).signing()
    assert path.read_text() == text


def test_a_file_that_is_cut_short_is_never_seen(keys, monkeypatch):
    before = keys.jwks()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        keys.rotate(at_once=True)
    monkeypatch.undo()
    assert keys.jwks() == before
    keys.rotate(at_once=True)
    assert keys.jwks() != before


# ---------------------------------------------------------------- rotation


def test_a_new_key_is_shown_for_a_day_before_it_signs(keys, clock):
    old = keys.signing()
    new = keys.rotate()
    assert [key.kid for key in keys.shown()] == [old.kid, new.kid]
    clock.now += DAY - 1
    assert keys.signing().kid == old.kid
    clock.now += 1
    assert keys.signing().kid == new.kid


def test_an_old_key_is_shown_for_a_week_after_it_signed_last(keys, clock):
    old, new = keys.signing(), keys.rotate()
    clock.now += DAY + 7 * DAY - 1
    assert {key.kid for key in keys.shown()} == {old.kid, new.kid}
    clock.now += 1
    assert [key.kid for key in keys.shown()] == [new.kid]


def test_at_every_moment_the_key_that_signs_has_been_shown_for_a_day(keys, clock):
    shown_since = {keys.signing().kid: float("-inf")}
    for _ in range(24 * 40):
        clock.now += 3600
        keys.rotate()
        for key in keys.shown():
            shown_since.setdefault(key.kid, clock.now)
        assert keys.signing().kid in {key.kid for key in keys.shown()}
        assert clock.now - shown_since[keys.signing().kid] >= DAY
    assert len(keys.shown()) < 12


def test_rotating_twice_brings_in_one_key(keys):
    keys.signing()
    assert keys.rotate().kid == keys.rotate().kid
    assert len(keys.shown()) == 2


def test_a_key_that_leaked_is_gone_at_once(keys):
    old, pending = keys.signing(), keys.rotate()
    new = keys.rotate(at_once=True)
    assert keys.signing().kid == new.kid
    assert [key.kid for key in keys.shown()] == [new.kid]
    assert new.kid not in (old.kid, pending.kid)


def test_keys_get_old_by_themselves(keys, clock):
    first = keys.signing()
    clock.now += 90 * DAY - 1
    keys.rotate_if_old()
    assert len(keys.shown()) == 1
    clock.now += 1
    keys.rotate_if_old()
    keys.rotate_if_old()
    assert len(keys.shown()) == 2
    assert keys.signing().kid == first.kid
    clock.now += DAY
    keys.rotate_if_old()
    assert len(keys.shown()) == 2
    assert keys.signing().kid != first.kid


def test_what_another_process_rotates_is_seen_at_the_next_call(keys, tmp_path, clock):
    keys.signing()
    new = SigningKeys(tmp_path / "keys.json", clock=clock).rotate(at_once=True)
    assert keys.signing().kid == new.kid


def test_a_clock_that_was_set_back_still_finds_a_key_to_sign_with(keys, clock):
    first = keys.signing()
    clock.now -= 10 * DAY
    assert keys.signing().kid == first.kid
    assert verified(keys.jwks(), keys.sign("r", "u", BODY), BODY)


def test_the_kid_is_the_thumbprint_of_rfc_7638(keys):
    key = keys.signing().public()
    required = json.dumps({n: key[n] for n in ("crv", "kty", "x")}, separators=(",", ":"))
    digest = hashlib.sha256(required.encode()).digest()
    assert key["kid"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
