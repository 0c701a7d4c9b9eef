"""Which addresses and URLs of strangers are tried at all. No sockets here."""

import asyncio
import socket
import threading
from ipaddress import ip_address, ip_network

import pytest

from telecine.net import (
    Client,
    FetchFailed,
    FetchRefused,
    _SystemResolver,
    checked_url,
    is_allowed,
    is_public,
    shown_host,
    shown_url,
)

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.17",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]

REFUSED_URLS = [
    # addresses written out
    "http://127.0.0.1/",
    "http://127.0.0.1:8484/v.mp4",
    "http://127.0.0.1./",
    "http://0.0.0.0/",
    "http://169.254.169.254/latest/meta-data/",
    "https://192.168.1.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:7f00:0001]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fd00::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1%25lo]/",
    # addresses written otherwise
    "http://2130706433/",
    "http://02130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://0x7f.1/",
    "http://0x/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.01/",
    "http://1/",
    "http://0/",
    "http://0./",
    "http://4294967295/",
    "http://99999999999/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://8.8.8.8./",
    "http://8.8.2056/",
    "http://134744072/",
    "http://example.0x7f/",
    "http://example.127/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    # who is the host?
    "http://user@example.org/",
    "http://user:secret@example.org/",
    "http://@example.org/",
    "http://:@example.org/",
    "http://example.org@127.0.0.1/",
    "http://127.0.0.1@example.org/",
    "http://example.org:80@127.0.0.1/",
    "http://example.org%40127.0.0.1/",
    "http://example.org\\@127.0.0.1/",
    "http://127.0.0.1\\.example.org/",
    "http://example.org/\\..\\x",
    "http:\\\\example.org\\x",
    "http://exa mple.org/",
    "http://example.org\t.evil.test/",
    "http://exam\nple.org/",
    "http://example.org/a\r\nHost: inner",
    "http://example.org/\x00",
    "http://example.org/\x7f",
    "http://example.org/\x85",
    "http://exa%00mple.org/",
    "http://exam%ple.org/",
    "http://ex<a>mple.org/",
    "http://a..b/",
    "http://.example.org/",
    "http://example.org../",
    "http://" + "a" * 64 + ".org/",
    "http://" + ".".join(["a" * 60] * 5) + "/",
    "http://\ud800/",
    # no host, other schemes, impossible ports
    "http:///etc/passwd",
    "http://",
    "http:/example.org/",
    "http:example.org",
    "//example.org/",
    "example.org/v.mp4",
    "",
    "file:///etc/passwd",
    "ftp://example.org/",
    "gopher://example.org/",
    "unix:///var/run/docker.sock",
    "ws://example.org/",
    "javascript:alert(1)",
    "http://example.org:0/",
    "http://example.org:65536/",
    "http://example.org:99999999999/",
    "http://example.org:-1/",
    "http://example.org:80a/",
    "http://[::1/",
    "http://::1/",
    "http://[v1.fe]/",
    "http://[8.8.8.8]/",
    "http://[gggg::1]/",
    "http://example.org/" + "a" * 9000,
]

ACCEPTED_URLS = {
    "http://example.org/v.mp4": "example.org",
    "HTTPS://EXAMPLE.org/v.mp4": "example.org",
    "  https://example.org/v.mp4\n": "example.org",
    "https://example.org.:8443/v.mp4": "example.org.",
    "https://example.org:1/": "example.org",
    "https://example.org:65535/": "example.org",
    "http://8.8.8.8/": "8.8.8.8",
    "http://[2606:4700:4700::1111]/": "2606:4700:4700::1111",
    "http://[::ffff:8.8.8.8]/": "::ffff:808:808",
    "https://bücher.example/": "xn--bcher-kva.example",
    "https://my_bucket.example.org/a b.mp4?sig=x%2Fy": "my_bucket.example.org",
    "https://0x7f.example.org/": "0x7f.example.org",
    "https://127.0.0.1.example.org/": "127.0.0.1.example.org",
    "https://localhost/": "localhost",
}


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_address_is_not_public(text):
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_address_is_public(text):
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", REFUSED_URLS)
def test_url_is_refused(text):
    with pytest.raises(FetchRefused) as caught:
        checked_url(text, ())
    assert "secret" not in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("text", ACCEPTED_URLS)
def test_url_is_tried_at_the_host_it_names(text):
    assert checked_url(text, ()).raw_host == ACCEPTED_URLS[text]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.0/8"),
        ("::ffff:127.0.0.1", "127.0.0.0/8"),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8"),
        ("fd00::1", "fd00::/8"),
        ("2002:a00:1::1", "2002::/16"),
        ("10.0.0.1", "10.0.0.1/32"),
    ],
)
def test_allow_opens_a_network_and_nothing_beside_it(address, network):
    allow = (ip_network(network),)
    assert is_allowed(ip_address(address), allow)
    assert is_allowed(ip_address("8.8.8.8"), allow)
    assert not is_allowed(ip_address("192.168.0.1"), allow)
    assert not is_allowed(ip_address("::1"), allow)


def test_allow_does_not_make_odd_spellings_acceptable():
    allow = (ip_network("127.0.0.0/8"),)
    assert checked_url("http://127.0.0.1/", allow).raw_host == "127.0.0.1"
    with pytest.raises(FetchRefused):
        checked_url("http://0x7f.1/", allow)


def test_a_refused_address_names_the_setting_that_would_allow_it():
    with pytest.raises(FetchRefused, match="TELECINE_NET_ALLOW"):
        checked_url("http://10.0.0.7/v.mp4?token=secret", ())


def test_what_is_shown_of_a_url_holds_no_secrets_and_is_short():
    shown = shown_url("https://user:secret@example.org:444/v.mp4?token=secret#secret")
    assert shown == "https://example.org:444/v.mp4"
    assert len(shown_url("https://example.org/" + "a" * 5000)) == 200
    assert shown_url("http://[") == "an unreadable URL"
    assert shown_host("https://user:secret@example.org/x?secret") == "example.org"


def client(answers, *, allow=(), proxy=None):
    """A client whose host names have the addresses in `answers`; each lookup uses one answer up."""

    async def resolve(host, _port):
        found = answers[host].pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return Client(
        allow=[ip_network(network) for network in allow],
        proxy=proxy,
        connect_seconds=5,
        user_agent="test",
        resolve=resolve,
    )


async def fetch(net, url):
    async with net, net.request("GET", url):
        pass


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["10.0.0.1", "8.8.8.8"],
        ["2606:4700:4700::1111", "fd00::1"],
        ["8.8.8.8", "::ffff:10.0.0.1"],
        ["fe80::1%eth0"],
    ],
)
def test_one_bad_address_refuses_the_whole_name(run, answer):
    with pytest.raises(FetchRefused) as caught:
        run(fetch(client({"video.test": [answer]}), "http://video.test/"))
    assert "video.test" in caught.value.message
    assert not any(address in caught.value.message for address in answer)


@pytest.mark.parametrize("answer", [OSError("no such host"), UnicodeError("label too long"), []])
def test_a_name_without_an_address_fails(run, answer):
    with pytest.raises(FetchFailed, match=r"video\.test"):
        run(fetch(client({"video.test": [answer]}), "http://video.test/"))


def test_a_name_that_leads_inside_is_refused_before_the_proxy_is_asked(run):
    net = client({"video.test": [["10.0.0.1"]]}, proxy="http://127.0.0.1:9")
    with pytest.raises(FetchRefused):
        run(fetch(net, "http://video.test/"))


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://0x7f.1/"])
def test_a_proxy_does_not_make_inner_addresses_acceptable(run, url):
    with pytest.raises(FetchRefused):
        run(fetch(client({}, proxy="http://127.0.0.1:9"), url))


def test_a_client_that_was_not_opened_says_so():
    with pytest.raises(RuntimeError, match="async with"):
        client({}).trusted()


def test_no_session_reads_the_environment(run, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def look():
        async with client({}) as net:
            return [session.trust_env for session in net._opened()]

    assert run(look()) == [False, False]


@pytest.fixture
def hanging(monkeypatch):
    """A system resolver that does not answer for slow.test until the test is over."""
    over, asked = threading.Event(), []

    def getaddrinfo(host, port, **_):
        asked.append(host)
        if host.endswith("slow.test"):
            over.wait()
            raise OSError("no such host")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr("telecine.net.socket.getaddrinfo", getaddrinfo)
    yield asked
    over.set()


def resolving():
    return Client(allow=(), proxy=None, connect_seconds=5, user_agent="test")


def test_name_servers_that_do_not_answer_hold_up_no_other_name(run, hanging):
    async def story():
        async with resolving() as net:

            async def ask(host):
                async with net.request("GET", f"http://{host}/"):
                    pass

            stuck = [asyncio.create_task(ask(f"{n}.slow.test")) for n in range(200)]
            with pytest.raises(FetchRefused):
                await ask("quick.test")
            assert sum(host.endswith("slow.test") for host in hanging) == 4
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)

    run(story())


def test_a_lookup_that_was_given_up_keeps_its_place_until_it_ends(run, monkeypatch):
    over, asked, called = threading.Event(), [], threading.Semaphore(0)

    def getaddrinfo(host, _port, **_):
        asked.append(host)
        called.release()
        over.wait()
        raise OSError("no such host")

    monkeypatch.setattr("telecine.net.socket.getaddrinfo", getaddrinfo)

    async def story():
        resolve = _SystemResolver()
        given_up = [asyncio.create_task(resolve(f"{n}.slow.test", 80)) for n in range(6)]
        for _ in range(4):
            await asyncio.to_thread(called.acquire, timeout=10)
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        later = asyncio.create_task(resolve("later.slow.test", 80))
        await asyncio.sleep(0)
        assert len(asked) == 4
        over.set()
        with pytest.raises(OSError, match="no such host"):
            await later
        assert asked[4:] == ["later.slow.test"]

    run(story())


@pytest.mark.parametrize("name", ["localhost", "x.LOCAL.", "a.b.internal", "nas", "h.home.arpa"])
def test_an_inner_name_does_not_go_to_the_proxy_when_it_cannot_be_looked_up(run, name):
    net = client({name.lower(): [OSError("no such host")]}, proxy="http://127.0.0.1:9")
    with pytest.raises(FetchRefused, match="TELECINE_NET_ALLOW"):
        run(fetch(net, f"http://{name}/"))
