"""API keys: how they look and how they are stored.

A key is `omium_<environment>_<32 characters>`. The database holds HMAC-SHA256(pepper, key): a fast hash is right for a
random secret of 190 bits, and without the pepper a stolen table is worthless.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
PREFIX_LENGTH = 18


def new_key(environment: str) -> str:
    return f"omium_{environment}_" + "".join(secrets.choice(_ALPHABET) for _ in range(32))


def hash_key(pepper: str, key: str) -> str:
    """64 hexadecimal characters."""
    return hmac.new(pepper.encode(), key.encode(), hashlib.sha256).hexdigest()


def visible_prefix(key: str) -> str:
    """The part of a key that may be shown."""
    return key[:PREFIX_LENGTH]
