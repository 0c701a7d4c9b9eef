"""The way out over real sockets, against servers that misbehave."""

import asyncio
import contextlib
import datetime as dt
import ssl
from ipaddress import ip_address, ip_network

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from telecine.net import Client, FetchFailed, FetchRefused, FetchTooLarge

OK = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n"


class Buffer:
    """A sink in memory."""

    def __init__(self):
        self.data = b""

    def write(self, chunk):
        self.data += chunk


@contextlib.asynccontextmanager
async def serving(answer, *, host="127.0.0.1", tls=None):
    """A server that reads a request's head and lets `answer(writer, head)` do the rest.

    Gives its port and the list of heads that came in.
    """
    heads = []

    async def handle(reader, writer):
        try:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await answer(writer, heads[-1])
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


def saying(raw):
    async def answer(writer, _head):
        writer.write(raw)

    return answer


def client(answers=None, *, allow=("127.0.0.1/32",), proxy=None):
    """A client for which 127.0.0.1 stands for a public address, and 127.0.0.2 for an inner one.

    Each lookup of a name uses up one of its `answers`; the last one stays.
    """
    answers = {"video.test": [["127.0.0.1"]], **(answers or {})}

    async def resolve(host, _port):
        if host not in answers:
            raise OSError("no such host")
        return answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]

    return Client(
        allow=[ip_network(network) for network in allow],
        proxy=proxy,
        connect_seconds=5,
        user_agent="telecine-test/1",
        resolve=resolve,
    )


async def get(net, url, *, max_bytes=1_000_000, max_seconds=20, max_redirects=3):
    sink = Buffer()
    async with net:
        found = await net.download(
            url,
            sink,
            max_bytes=max_bytes,
            max_seconds=max_seconds,
            max_redirects=max_redirects,
        )
    return found, sink.data


async def get_from(answer, *, path="/v.mp4?token=secret", net=None, **limits):
    async with serving(answer) as (port, _):
        return await get(net or client(), f"http://video.test:{port}{path}", **limits)


def test_a_file_arrives_whole_with_what_the_server_said(run):
    body = bytes(range(256)) * 1000
    answer = saying(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    found, data = run(get_from(answer))
    assert data == body
    assert found.content_type == "video/mp4"
    assert found.final_url.endswith("/v.mp4")


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Connection: close\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Encoding: identity\r\n\r\nhello",
    ],
    ids=["no length", "chunked", "identity"],
)
def test_bodies_of_every_framing_arrive(run, raw):
    assert run(get_from(saying(raw)))[1] == b"hello"


def test_nothing_of_ours_is_sent_along(run, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", "/dev/null")

    async def story():
        cookie = b"Set-Cookie: session=1; Path=/\r\n"
        redirect = b"HTTP/1.1 302 Found\r\n" + cookie + b"Location: /next\r\n\r\n"

        async def answer(writer, head):
            last = head.startswith("GET /next ")
            writer.write(OK + b"Content-Length: 2\r\n\r\nok" if last else redirect)

        async with serving(answer) as (port, heads):
            await get(client(), f"http://video.test:{port}/first#part")
        first, second = ({h.lower() for h in head.split("\r\n")} for head in heads)
        for head in (first, second):
            names = {line.partition(":")[0] for line in head}
            assert not names & {"cookie", "authorization", "referer", "origin"}
            assert "accept-encoding: identity" in head
            assert "user-agent: telecine-test/1" in head
        assert "get /first http/1.1" in first

    run(story())


# ---------------------------------------------------------------- where it leads


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/inner",
        "http://inner.test:{port}/inner",
        "//127.0.0.2:{port}/inner",
        "http://[::1]:{port}/",
        "http://0x7f000002:{port}/",
        "http://2130706434:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user:pass@127.0.0.2/",
        "http://video.test@127.0.0.2/",
        "http://127.0.0.2\\@video.test/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://video.test:0/",
        "http://[/",
    ],
)
def test_a_redirect_inside_is_refused_and_never_requested(run, location):
    async def story():
        answers = {"inner.test": [["127.0.0.2"]]}
        async with serving(saying(OK + b"\r\nsecret"), host="127.0.0.2") as (port, inner):
            target = location.format(port=port).encode()
            redirect = saying(b"HTTP/1.1 302 Found\r\nLocation: " + target + b"\r\n\r\n")
            with pytest.raises(FetchRefused):
                await get_from(redirect, net=client(answers))
            assert inner == []

    run(story())


def test_a_name_is_looked_up_once_and_the_answer_is_what_is_connected_to(run):
    async def story():
        answers = {"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]}
        async with serving(saying(OK + b"Content-Length: 2\r\n\r\nok")) as (port, heads):
            _, data = await get(client(answers), f"http://rebind.test:{port}/")
            assert data == b"ok"
            assert len(heads) == 1

    run(story())


def test_a_name_that_changes_its_address_between_hops_is_refused(run):
    async def story():
        answers = {"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]}
        redirect = saying(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\n\r\n")
        async with serving(redirect) as (port, heads):
            with pytest.raises(FetchRefused, match=r"rebind\.test"):
                await get(client(answers), f"http://rebind.test:{port}/")
            assert len(heads) == 1

    run(story())


def test_the_socket_itself_refuses_what_slipped_through(run):
    async def story():
        async with serving(saying(OK + b"\r\nsecret"), host="127.0.0.2") as (port, heads):
            net = client()
            async with net:
                guarded, _ = net._opened()
                with pytest.raises(aiohttp.ClientConnectorError):
                    await guarded.get(f"http://127.0.0.2:{port}/")
            assert heads == []

    run(story())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_relative_and_absolute(run, status):
    async def answer(writer, head):
        if head.startswith("GET /a/first "):
            writer.write(b"HTTP/1.1 %d Go\r\nLocation: ../second?x=1\r\n\r\n" % status)
        elif head.startswith("GET /second?x=1 "):
            port = head.partition("video.test:")[2].partition("\r\n")[0]
            to = f"http://other.test:{port}/third"
            writer.write(b"HTTP/1.1 %d Go\r\nLocation: %s\r\n\r\n" % (status, to.encode()))
        else:
            writer.write(OK + b"Content-Length: 2\r\n\r\nok")

    net = client({"other.test": [["127.0.0.1"]]})
    found, data = run(get_from(answer, path="/a/first", net=net))
    assert data == b"ok"
    assert found.final_url.startswith("http://other.test:")


def test_redirects_have_an_end(run):
    answer = saying(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")

    async def story():
        async with serving(answer) as (port, heads):
            with pytest.raises(FetchFailed, match="more than 3 redirects"):
                await get(client(), f"http://video.test:{port}/")
            assert len(heads) == 4

    run(story())


def test_no_redirect_is_followed_when_none_may_be(run):
    answer = saying(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")
    with pytest.raises(FetchFailed, match="redirect"):
        run(get_from(answer, max_redirects=0))


# ---------------------------------------------------------------- how much, how long


def test_a_length_over_the_cap_is_refused_before_the_body(run):
    with pytest.raises(FetchTooLarge) as caught:
        run(get_from(saying(OK + b"Content-Length: 5000000000\r\n\r\n"), max_bytes=1000))
    assert caught.value.max_bytes == 1000


def test_an_endless_body_ends_at_the_cap(run):
    async def answer(writer, _head):
        writer.write(OK + b"\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    with pytest.raises(FetchTooLarge):
        run(get_from(answer, max_bytes=300_000))


def test_a_slow_drip_ends_with_the_time(run):
    async def answer(writer, _head):
        writer.write(OK + b"\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    with pytest.raises(FetchFailed, match=r"took longer than 0\.3 s"):
        run(get_from(answer, max_seconds=0.3))


def test_a_server_that_never_answers_ends_with_the_time(run):
    async def answer(_writer, _head):
        await asyncio.sleep(20)

    with pytest.raises(FetchFailed, match="took longer"):
        run(get_from(answer, max_seconds=0.2))


def test_redirects_share_one_time(run):
    async def answer(writer, _head):
        await asyncio.sleep(0.15)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")

    with pytest.raises(FetchFailed, match="took longer"):
        run(get_from(answer, max_seconds=0.3, max_redirects=1000))


# ---------------------------------------------------------------- what else goes wrong


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404 Not Found"),
        (b"HTTP/1.1 403 secret\r\n\r\n", "answered 403 Forbidden"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx", "answered 206"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 299 x\r\n\r\n", "answered 299"),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", "compressed"),
        (OK + b"Content-Length: 1000\r\n\r\nhalf", "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nffff\r\nhalf", "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "broke off|proper HTTP"),
        (OK + b"Content-Length: -5\r\n\r\n", "proper HTTP"),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "proper HTTP"),
        (OK + b"X: " + b"a" * 20_000 + b"\r\n\r\n", "proper HTTP"),
        (OK + b"".join(b"X%d: a\r\n" % n for n in range(500)) + b"\r\n", "proper HTTP"),
        (OK + b"Content-Length: 5\r\n\r\nhello and more", "proper HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "proper HTTP"),
        (b"", "closed the connection"),
    ],
    ids=range(17),
)
def test_a_bad_answer_is_said_without_the_query_string(run, raw, says):
    with pytest.raises(FetchFailed, match=says) as caught:
        run(get_from(saying(raw)))
    assert "video.test" in caught.value.message
    assert "secret" not in caught.value.message


def test_nobody_listening_is_said(run):
    async def story():
        async with serving(saying(b"")) as (port, _):
            pass
        with pytest.raises(FetchFailed, match=r"video\.test cannot be reached: .*refused"):
            await get(client(), f"http://video.test:{port}/v.mp4?token=secret")

    run(story())


def test_an_unknown_name_is_said(run):
    with pytest.raises(FetchFailed, match=r"nowhere\.test could not be found"):
        run(get(client(), "http://nowhere.test/"))


def test_what_the_sink_raises_arrives(run):
    class Full(Exception):
        pass

    class Sink:
        def write(self, _chunk):
            raise Full

    async def story():
        async with serving(saying(OK + b"Content-Length: 2\r\n\r\nok")) as (port, _):
            async with client() as net:
                with pytest.raises(Full):
                    await net.download(
                        f"http://video.test:{port}/",
                        Sink(),
                        max_bytes=10,
                        max_seconds=5,
                        max_redirects=0,
                    )

    run(story())


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A server certificate for video.test that nobody signed."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "video.test")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("video.test"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_a_certificate_that_nobody_signed_is_refused_and_said(run, tls):
    async def story():
        async with serving(saying(OK + b"\r\nx"), tls=tls) as (port, heads):
            with pytest.raises(
                FetchFailed, match=r"No secure connection to video\.test: .*self.signed"
            ):
                await get(client(), f"https://video.test:{port}/")
            assert heads == []

    run(story())


def test_tls_to_a_server_without_it_is_said(run):
    async def story():
        async with serving(saying(b"")) as (port, _):
            async with asyncio.timeout(10):
                with pytest.raises(FetchFailed, match=r"video\.test"):
                    await get(client(), f"https://video.test:{port}/", max_seconds=2)

    run(story())


# ---------------------------------------------------------------- through the operator's proxy


async def relay(writer, _head):
    writer.write(OK + b"Content-Length: 2\r\n\r\nok")


def test_the_proxy_gets_the_request_and_its_own_credentials_only(run):
    async def story():
        async with serving(relay) as (port, heads):
            net = client({"public.test": [["8.8.8.8"]]}, proxy=f"http://me:word@127.0.0.1:{port}")
            _, data = await get(net, "http://public.test/v.mp4")
            assert data == b"ok"
            assert heads[0].startswith("GET http://public.test/v.mp4 ")
            assert "proxy-authorization: basic" in heads[0].lower()

    run(story())


def test_names_that_only_the_proxy_can_look_up_go_to_it(run):
    async def story():
        async with serving(relay) as (port, heads):
            net = client(proxy=f"http://127.0.0.1:{port}")
            assert (await get(net, "http://unknown.test/v.mp4"))[1] == b"ok"
            assert len(heads) == 1

    run(story())


def test_a_redirect_from_behind_the_proxy_is_checked_too(run):
    async def story():
        inside = saying(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\n\r\n")
        async with serving(inside) as (port, heads):
            net = client(proxy=f"http://127.0.0.1:{port}")
            with pytest.raises(FetchRefused):
                await get(net, "http://unknown.test/v.mp4")
            assert len(heads) == 1

    run(story())


def test_allowed_private_addresses_are_reached_without_the_proxy(run):
    async def story():
        async with serving(relay) as (port, _):
            net = client(proxy="http://127.0.0.1:9")
            assert (await get(net, f"http://video.test:{port}/"))[1] == b"ok"

    run(story())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_said(run, scheme):
    async def story():
        refusal = saying(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        async with serving(refusal) as (port, _):
            net = client(proxy=f"http://127.0.0.1:{port}")
            with pytest.raises(FetchFailed, match="407"):
                await get(net, f"{scheme}://unknown.test/")

    run(story())


def test_a_proxy_that_is_not_there_is_said(run):
    async def story():
        async with serving(saying(b"")) as (port, _):
            pass
        net = client(proxy=f"http://127.0.0.1:{port}")
        with pytest.raises(FetchFailed, match="TELECINE_NET_PROXY"):
            await get(net, "http://unknown.test/")

    run(story())


def test_trusted_servers_far_away_are_reached_through_the_proxy_and_near_ones_are_not(run):
    async def story():
        async with serving(relay) as (proxy, through), serving(relay) as (port, direct):
            async with client(proxy=f"http://127.0.0.1:{proxy}") as net:
                async with net.trusted().get("http://api.example.org/v1/models") as response:
                    assert response.status == 200
                for host in ("127.0.0.1", "localhost"):
                    async with net.trusted().get(f"http://{host}:{port}/v1/models") as response:
                        assert response.status == 200
            assert [head.split(" ")[1] for head in through] == ["http://api.example.org/v1/models"]
            assert [head.split(" ")[1] for head in direct] == ["/v1/models", "/v1/models"]

    run(story())


def test_trusted_servers_may_be_anywhere(run):
    async def story():
        async with serving(relay, host="127.0.0.2") as (port, _):
            async with client(allow=()) as net:
                async with net.trusted().get(f"http://127.0.0.2:{port}/") as response:
                    assert await response.read() == b"ok"

    run(story())
