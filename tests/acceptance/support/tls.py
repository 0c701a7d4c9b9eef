"""A certificate authority of the tests' own, and the two ways to Telecine that need one."""

import asyncio
import contextlib
import datetime as dt
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """`file` is what a client trusts; `context(names)` is for a server with these names."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of Telecine")])
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(_pem(certificate))

    def context(self, names):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = (
            self._builder(subject, key)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"{names[0]}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file.write_bytes(_pem(certificate) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject, key):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Front:
    """Ends TLS, as a reverse proxy does, and hands the bytes on to `target`, set before use."""

    def __init__(self, background, context):
        self.target = None
        self.port = 0
        self._background = background
        self._context = context

    def __enter__(self):
        self._server = self._background.run(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self._background.call(self._server.close)

    async def _serve(self, reader, writer):
        await _join(reader, writer, self.target)


class ConnectProxy:
    """An HTTP proxy that knows one way only: to `target`, whatever host of `names` is asked for.

    `asked` are the hosts that clients wanted, also those refused.
    """

    def __init__(self, background, context, names, target):
        self.asked = []
        self.url = ""
        self._background = background
        self._context = context
        self._names = names
        self._target = target

    def __enter__(self):
        self._server = self._background.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_):
        self._background.call(self._server.close)

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, address, _ = head.split(" ", 2)
        host = address.rpartition(":")[0]
        self.asked.append(host)
        if method != "CONNECT" or host not in self._names:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        await writer.start_tls(self._context)
        await _join(reader, writer, self._target)


async def _join(reader, writer, target):
    """Carry bytes both ways until one side ends."""
    there, to_there = await asyncio.open_connection(*target)
    ways = [
        asyncio.ensure_future(_carry(reader, to_there)),
        asyncio.ensure_future(_carry(there, writer)),
    ]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    writer.close()
    to_there.close()


async def _carry(source, sink):
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
