import ssl

import pytest

from telecine.certificates import Authority, is_good

NAMES = ["fal.run", "*.fal.run", "rest.alpha.fal.ai", "127.0.0.1", "::1"]


def shaken(server, authority, name):
    """A TLS handshake in memory, as a client that trusts nobody else; raises its complaint."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.load_verify_locations(cadata=authority.certificate.decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    done = 0
    while done < 2:
        done = 0
        for side in (client, there):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
    return client


@pytest.fixture(scope="module")
def authority():
    return Authority("a test", days=3, domains=["fal.run", "fal.ai"])


@pytest.mark.parametrize("name", ["fal.run", "queue.fal.run", "rest.alpha.fal.ai"])
def test_a_client_that_trusts_the_authority_takes_the_server(authority, name):
    server = authority.issue(["fal.run", "*.fal.run", "rest.alpha.fal.ai"]).context()
    assert shaken(server, authority, name).version() == "TLSv1.3"


def test_addresses_are_names_too():
    authority = Authority("a test", days=3)
    server = authority.issue(NAMES).context()
    assert shaken(server, authority, "127.0.0.1")
    assert shaken(server, authority, "::1")


@pytest.mark.parametrize("name", ["example.org", "fal.run.example.org", "notfal.run"])
def test_no_client_believes_it_about_a_name_outside_its_domains(authority, name):
    server = authority.issue([name]).context()
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shaken(server, authority, name)


def test_another_authority_of_the_same_name_is_not_trusted(authority):
    server = Authority("a test", days=3).issue(["fal.run"]).context()
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(server, authority, "fal.run")


def test_the_certificate_to_trust_holds_no_key(authority):
    assert b"PRIVATE" not in authority.certificate


@pytest.mark.parametrize(
    ("names", "days_left", "answer"),
    [
        (["fal.run"], 1, True),
        (["fal.run", "::1"], 1, True),
        (["fal.run"], 5, False),
        (["fal.run", "example.org"], 1, False),
        (["127.0.0.2"], 1, False),
    ],
)
def test_whether_a_kept_certificate_will_do(names, days_left, answer):
    issued = Authority("a test", days=3).issue(NAMES)
    assert is_good(issued.certificate + issued.key, names, days_left=days_left) is answer


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_what_is_no_certificate_will_not_do(content):
    assert not is_good(content, ["fal.run"], days_left=1)
