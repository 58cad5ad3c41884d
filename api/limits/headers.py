"""What an answer says about the limit that is closest to its end, in both spellings that clients know."""

from __future__ import annotations

import math
import time

Pair = tuple[bytes, bytes]


def rate_headers(limit: int, remaining: int, resets_in: float) -> list[Pair]:
    """`resets_in` is in seconds; `RateLimit-Reset` is too, while `X-RateLimit-Reset` is a time in seconds since the epoch."""
    most, left = b"%d" % limit, b"%d" % remaining
    return [
        (b"ratelimit-limit", most),
        (b"ratelimit-remaining", left),
        (b"ratelimit-reset", b"%d" % math.ceil(resets_in)),
        (b"x-ratelimit-limit", most),
        (b"x-ratelimit-remaining", left),
        (b"x-ratelimit-reset", b"%d" % math.ceil(time.time() + resets_in)),
    ]
