"""TLS to a server: whom this machine believes, and the certificate that it shows, from secrets."""

import os
import ssl
import tempfile
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.shares.share import Secrets

# Debian's ca-certificates; the live image has no more of it than this file.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def context(secrets: Secrets, folder: Path) -> ssl.SSLContext:
    """Return how TLS is spoken: secret `ca` says alone who is believed, if there is one; `client-cert` is shown.

    folder is one in memory, for the moment in which OpenSSL reads the latter. Raises Refused if a secret is not fit.
    """
    made = believing(secrets.find("ca"))
    if (certificate := secrets.find("client-cert")) is not None:
        _show(made, certificate, folder)
    return made


def believing(own: bytes | None) -> ssl.SSLContext:
    """Return how TLS is spoken with who is believed: by the authorities of secret `ca`, or without it by Debian's.

    No certificate is shown. Raises Refused if the secret is not fit.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if own is not None:
            made.load_verify_locations(cadata=own.decode("ascii"))
        elif AUTHORITIES.exists():
            made.load_verify_locations(cafile=str(AUTHORITIES))
    except (ssl.SSLError, UnicodeDecodeError):
        raise Refused("cannot use secret 'ca': it has no certificates", hint="it holds them in PEM") from None
    return made


def _show(made: ssl.SSLContext, certificate: bytes, folder: Path) -> None:
    fd, name = tempfile.mkstemp(dir=folder)  # for its owner only
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(certificate)
        made.load_cert_chain(name, password=lambda: b"")
    except (ssl.SSLError, ValueError):
        raise Refused(
            "cannot use secret 'client-cert': it is no certificate with its key",
            hint="it holds both in PEM, the key without a passphrase",
        ) from None
    finally:
        guarded.wipe(Path(name))


def distrust(error: ssl.SSLError, server: str) -> Failed | Refused | None:
    """Return the error of a server that is not believed, or does not believe us; None if that may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = "not yet valid" in error.verify_message or "expired" in error.verify_message
        return Refused(
            f"cannot trust server {server}: its certificate: {error.verify_message}",
            hint="see that this machine's clock is right, or give the server a new certificate"
            if clock
            else "secret 'ca' has the authorities that are believed; the name in the URL must be in the certificate",
        )
    if error.reason and "ALERT" in error.reason:
        return Failed(
            f"cannot speak TLS with server {server}: {error.reason}",
            hint="it may want a certificate (secret 'client-cert'), or another version of TLS than 1.2 and 1.3",
        )
    return None
