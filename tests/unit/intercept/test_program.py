import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.intercept.gateway import DOMAINS, is_fal
from telecine.intercept.program import PLACEHOLDER_KEY, _takes_in_fal, environment

PROXY = "http://telecine:secret@127.0.0.1:4321"
OURS = b"-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n"


@pytest.fixture
def made(tmp_path):
    """The environment made of a given one."""
    folder = tmp_path / "a folder"
    folder.mkdir()

    def made(*, is_only_fal=False, **given):
        return environment(
            given, proxy_url=PROXY, certificate=OURS, folder=folder, is_only_fal=is_only_fal
        )

    return made


def test_every_spelling_of_the_proxy_leads_to_ours(made):
    env = made(HTTPS_PROXY="http://corporate:3128", all_proxy="socks5://other")
    names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    assert {env[name] for name in names} == {PROXY}


def test_what_has_nothing_to_do_with_it_stays(made):
    assert made(PATH="/bin", LANG="C")["PATH"] == "/bin"


@pytest.mark.parametrize(
    ("exceptions", "left"),
    [
        ("", ""),
        ("*", ""),
        ("fal.run", ""),
        (".fal.run, *.fal.ai", ""),
        ("queue.fal.run:443", ""),
        ("run,media", ""),
        ("V3.FAL.MEDIA", ""),
        ("example.org, .corp, 10.0.0.0/8", "example.org,.corp,10.0.0.0/8"),
        ("notfal.run,fal.run.example.org", "notfal.run,fal.run.example.org"),
    ],
)
def test_no_exception_from_the_proxy_takes_in_fal(made, exceptions, left):
    local = "localhost,127.0.0.1,::1"
    assert made(NO_PROXY=exceptions)["NO_PROXY"] == (f"{left},{local}" if left else local)


@given(st.text(alphabet="fal.runmediacom*", max_size=12))
def test_an_exception_that_ends_one_of_fals_names_is_found(exception):
    if any(f"x.{domain}".endswith(f".{exception}") for domain in DOMAINS):
        assert _takes_in_fal(exception)


def test_with_only_fal_no_other_host_is_excepted(made):
    env = made(NO_PROXY="example.org", is_only_fal=True)
    assert env["NO_PROXY"] == env["no_proxy"] == "localhost,127.0.0.1,::1"


def test_a_bundle_holds_the_usual_authorities_and_ours(made, tmp_path):
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        (tmp_path / name).write_text(f"usual of {name}")  # without a line end, as it happens
    env = made(**{n: str(tmp_path / n) for n in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")})
    for name, usual in [
        ("SSL_CERT_FILE", b"usual of SSL_CERT_FILE\n"),
        ("REQUESTS_CA_BUNDLE", b"usual of REQUESTS_CA_BUNDLE\n"),
        ("CURL_CA_BUNDLE", b"usual of SSL_CERT_FILE\n"),
        ("NODE_EXTRA_CA_CERTS", b""),  # it adds to what Node has built in
    ]:
        with open(env[name], "rb") as file:
            assert file.read() == usual + OURS, name
        assert stat.S_IMODE(os.stat(env[name]).st_mode) == 0o600


def test_without_a_setting_the_bundle_starts_with_this_systems(made):
    with open(made()["SSL_CERT_FILE"], "rb") as file:
        assert file.read().count(b"BEGIN CERTIFICATE") > 10


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("--max-old-space-size=100", "--max-old-space-size=100 ")]
)
def test_node_options_are_appended_to_and_quoted(made, tmp_path, before, after):
    preload = tmp_path / "a folder" / "preload.cjs"
    assert made(NODE_OPTIONS=before)["NODE_OPTIONS"] == f'{after}--require "{preload}"'
    assert "tls.connect" in preload.read_text()


def test_the_preload_knows_fals_names_and_what_is_refused(made, tmp_path):
    made(is_only_fal=True)
    facts = json.loads((tmp_path / "a folder" / "preload.json").read_text())
    assert facts == {"domains": list(DOMAINS), "onlyFal": True}


def test_other_hosts_of_the_clients_are_forgotten(made):
    hosts = ["FAL_RUN_HOST", "FAL_QUEUE_RUN_HOST", "FAL_REST_HOST", "FAL_HOST"]
    env = made(FAL_FORCE_AUTH_BY_USER="1", **dict.fromkeys(hosts, "elsewhere.example"))
    assert [name for name in env if name.startswith("FAL_")] == ["FAL_KEY"]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, PLACEHOLDER_KEY),
        ({"FAL_KEY": ""}, PLACEHOLDER_KEY),
        ({"FAL_KEY": "mine"}, "mine"),
        ({"FAL_KEY_ID": "a"}, PLACEHOLDER_KEY),
        ({"FAL_KEY_ID": "a", "FAL_KEY_SECRET": "b"}, None),
    ],
)
def test_a_key_that_clients_demand_is_there(made, given, key):
    assert made(**given).get("FAL_KEY") == key


def test_nodes_own_proxy_support_is_the_users_choice(made):
    assert made()["NODE_USE_ENV_PROXY"] == "1"
    assert made(NODE_USE_ENV_PROXY="0")["NODE_USE_ENV_PROXY"] == "0"


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("fal.run", True),
        ("QUEUE.fal.run.", True),
        ("anything.new.fal.ai", True),
        ("v9.fal.media", True),
        ("queue.falrun.com", True),
        ("evil-fal.run", False),
        ("fal.run.evil.org", False),
        ("fal", False),
        ("", False),
    ],
)
def test_whose_host_it_is(host, answer):
    assert is_fal(host) is answer
