"""Certificates that this program makes for itself, with their authority's key never on disk.

An `Authority` signs as long as the object lives. Its certificate is what clients are told to trust.
"""

from __future__ import annotations

import ipaddress
import secrets
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SLACK = timedelta(hours=1)  # for clocks that are behind
_USAGES = {
    **dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment"), False),
    **dict.fromkeys(("data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"), False),
    **dict.fromkeys(("encipher_only", "decipher_only"), False),
}


@dataclass(frozen=True, slots=True)
class Issued:
    """A server's certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def context(self) -> ssl.SSLContext:
        """For a server that speaks HTTP/1.1."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        # The ssl module loads keys from files alone; this one can be read by nobody but this call.
        password = secrets.token_hex(32)
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.certificate + _encrypted(self.key, password))
            file.flush()
            context.load_cert_chain(file.name, password=password)
        return context


class Authority:
    """`certificate` (PEM) is what to trust. `domains`: it can sign for these names and what is
    below them, and every TLS library holds it to that; empty: for any name."""

    def __init__(self, name: str, *, days: int, domains: Sequence[str] = ()) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._days = days
        usage = x509.KeyUsage(**{**_USAGES, "key_cert_sign": True})
        builder = (
            self._builder(self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )
        if domains:
            permitted = [x509.DNSName(domain) for domain in domains]
            builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
        self.certificate = _pem(builder.sign(self._key, hashes.SHA256()))

    def issue(self, names: Sequence[str]) -> Issued:
        """For a server that is called by all of `names`: host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        usage = x509.KeyUsage(**{**_USAGES, "digital_signature": True})
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
            .add_extension(own, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(_pem(certificate), _encoded(key, serialization.NoEncryption()))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SLACK)
            .not_valid_after(now + timedelta(days=self._days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def is_good(certificate: bytes, names: Sequence[str], *, days_left: int) -> bool:
    """Whether this certificate (PEM) is for all of `names` and lasts that long."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
        own = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    lasts = found.not_valid_after_utc - datetime.now(UTC) > timedelta(days=days_left)
    return lasts and all(_name(name) in own for name in names)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _encrypted(key: bytes, password: str) -> bytes:
    private = serialization.load_pem_private_key(key, password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return _encoded(private, serialization.BestAvailableEncryption(password.encode()))


def _encoded(
    key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
