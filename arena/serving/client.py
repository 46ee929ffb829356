"""Which hosts a client talks to, and why one gave no answer."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from urllib.parse import urlsplit

from programs.errors import EnvironmentProblem


def is_private(url: str) -> bool:
    """Whether nobody between client and host reads or changes what is sent: https, or http to this machine."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http":
            return parts.scheme == "https"
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name, or no URL
        return False


def bad_certificate(error: BaseException) -> bool:
    """Whether the host's certificate was refused, so that the same request fails again."""
    cause: BaseException | None = getattr(error, "reason", error)
    while isinstance(cause, Exception) and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def no_answer(host: str, error: Exception, hint: str) -> EnvironmentProblem:
    if bad_certificate(error):
        hint = "for a certificate that the host has signed itself, get its file and set SSL_CERT_FILE=FILE"
    return EnvironmentProblem(f"no answer from {host}: {getattr(error, 'reason', error)}", hint=hint)
