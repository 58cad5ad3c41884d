"""API keys: how they look and how they are stored.

A key is `omium_<environment>_<32 letters and digits>`. The database holds HMAC-SHA256(pepper, key): a fast hash is right for
a random secret of 155 bits, and without the pepper a stolen table is worthless. The last six characters are a checksum of
what stands before them, by which a scanner of leaked secrets tells a key from a text that looks like one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM = 26
_CHECKSUM = 6
_LOOKS_LIKE = re.compile(r"omium_[a-z]{1,20}_[0-9A-Za-z]{32}")
PREFIX_LENGTH = 18

#: What the keys of an installation are called by.
ENVIRONMENT_NAMES = {"production": "prod", "development": "dev"}


def new_key(environment: str) -> str:
    """A new key; `environment` is a short word in small letters, such as `prod`."""
    body = f"omium_{environment}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _checksum(body)


def is_genuine(text: str) -> bool:
    """Whether a text is a key that was made here, rather than one that looks like it. Keys made before may fail this."""
    return bool(_LOOKS_LIKE.fullmatch(text)) and hmac.compare_digest(_checksum(text[:-_CHECKSUM]), text[-_CHECKSUM:])


def hash_key(pepper: str, key: str) -> str:
    """64 hexadecimal characters."""
    return hmac.new(pepper.encode(), key.encode(), hashlib.sha256).hexdigest()


def visible_prefix(key: str) -> str:
    """The part of a key that may be shown."""
    return key[:PREFIX_LENGTH]


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
