"""Codes of an authenticator app, each of which works once, and recovery codes for those who lost the app."""

from __future__ import annotations

import hmac
import re
import secrets
import time

import pyotp

PERIOD = 30
#: Clocks may be off by this many periods.
_TOLERANCE = 1
_RECOVERY_CODES = 10
_ISSUER = "Omium"


def new_secret() -> str:
    return pyotp.random_base32()


def uri_of(secret: str, email: str) -> str:
    """What an authenticator app reads as a QR code."""
    return pyotp.TOTP(secret, interval=PERIOD).provisioning_uri(name=email, issuer_name=_ISSUER)


def period_of(secret: str, code: str) -> int | None:
    """The period whose code this is; None where it is not one of now."""
    digits = code.replace(" ", "")
    if not re.fullmatch(r"[0-9]{6}", digits):
        return None
    totp = pyotp.TOTP(secret, interval=PERIOD)
    present = int(time.time()) // PERIOD
    for period in range(present - _TOLERANCE, present + _TOLERANCE + 1):
        if hmac.compare_digest(totp.generate_otp(period), digits):
            return period
    return None


def new_recovery_codes() -> list[str]:
    """Ten codes such as `k3mzq-7xw2p`, each of almost 50 bits."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return [
        "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(2)) for _ in range(_RECOVERY_CODES)
    ]


def plain_recovery_code(code: str) -> str:
    """A recovery code as it is hashed, however it was typed."""
    return code.strip().lower().replace("-", "").replace(" ", "")
