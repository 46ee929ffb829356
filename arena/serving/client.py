"""Why a host gave no answer."""

from __future__ import annotations

import ssl

from programs.errors import EnvironmentProblem


def bad_certificate(error: Exception) -> bool:
    """Whether the host's certificate was refused, so that the same request fails again."""
    return isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError)


def no_answer(host: str, error: Exception, hint: str) -> EnvironmentProblem:
    if bad_certificate(error):
        hint = "for a certificate that the host has signed itself, get its file and set SSL_CERT_FILE=FILE"
    return EnvironmentProblem(f"no answer from {host}: {getattr(error, 'reason', error)}", hint=hint)
