"""Certificates of a cluster: a CA, and a pair for each role, in a directory for each.

The names of the files are those of a Kubernetes TLS secret. A directory of a role is a `--tls-dir` as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from architect_parallel.errors import EnvironmentProblem, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, KeyUsage

CA_CERTIFICATE, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
CA_KEY = "ca.key"
ROLES = ("scheduler", "worker", "client")
VALID_DAYS = 365
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: Certificate
    key: EllipticCurvePrivateKey


def make_certificates(directory: Path) -> None:
    """Write a new CA and a pair for each of `ROLES`, valid for one year, P-256. Only the owner may read the keys.

    A client's certificate cannot serve: its owner cannot pass for a scheduler or a host.

    Raises:
        UsageError: The directory has something in it.
        EnvironmentProblem: The extra `[dask]` is not installed.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} exists and is not an empty directory", hint="architect host certs NEW_DIR")
    try:
        ca = _issue("architect-parallel CA", None, is_server=False)
    except ImportError as error:
        raise missing_extra("architect host certs") from error
    _write(directory / CA_CERTIFICATE, _pem(ca.certificate))
    _write(directory / CA_KEY, _pem(ca.key))
    for role in ROLES:
        pair = _issue(f"architect-parallel {role}", ca, is_server=role != "client")
        _write(directory / role / CA_CERTIFICATE, _pem(ca.certificate))
        _write(directory / role / CERTIFICATE, _pem(pair.certificate))
        _write(directory / role / KEY, _pem(pair.key))


def missing_extra(what: str) -> EnvironmentProblem:
    """The error for a command that needs Dask."""
    hint = "in a clone of architect-parallel: pipx install --force '.[dask]', or pip install '.[dask]'"
    return EnvironmentProblem(f"{what} needs the extra [dask]", hint=hint)


def _issue(name: str, ca: _Pair | None, *, is_server: bool) -> _Pair:
    """Make a key and its certificate. Without a CA it is a CA itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer = ca.certificate.subject if ca else subject
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=0 if ca is None else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((ca.key if ca else key).public_key()), critical=False
        )
        .add_extension(_usage(is_ca=ca is None), critical=True)
    )
    if ca is not None:
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if is_server else [])]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return _Pair(builder.sign((ca.key if ca else key), hashes.SHA256()), key)


def _usage(*, is_ca: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(what: Certificate | EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509 import Certificate as X509Certificate

    if isinstance(what, X509Certificate):
        return what.public_bytes(Encoding.PEM)
    return what.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = 0o600 if path.suffix == ".key" else 0o644
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)
