"""Short names of tenants, made from their names."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterator

LONGEST = 60
#: Names that addresses or people take for something else.
RESERVED = frozenset(
    {
        "account", "accounts", "admin", "api", "app", "auth", "billing", "dashboard", "default", "docs", "health", "help",
        "internal", "jwks", "login", "logout", "mail", "me", "metrics", "new", "null", "omium", "public", "register", "root",
        "security", "settings", "signin", "signup", "static", "status", "support", "system", "tenant", "tenants",
        "undefined", "user", "users", "well-known", "www",
    }
)  # fmt: skip

_SPECIAL = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "þ": "th", "œ": "oe", "ı": "i"})


def slug_of(name: str) -> str:
    """`Acme Corp.` -> `acme-corp`. A name without a Latin letter or digit gives `tenant`."""
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_SPECIAL)).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST].rstrip("-")
    return slug or "tenant"


def slugs_for(name: str) -> Iterator[str]:
    """Slugs to try one after the other: as it is, numbered, and at last with a random end that is surely free."""
    slug = slug_of(name)
    if slug not in RESERVED and slug != "tenant":
        yield slug
        yield from (f"{slug}-{number}" for number in (2, 3, 4, 5))
    for _ in range(3):
        yield f"{slug}-{secrets.token_hex(4)}"
