"""What crosses Temporal when webhooks are sent: ids and pauses, never an address, a payload or a secret.

Standard library only, like `models.wire`.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from dataclasses import dataclass


@dataclass
class Endpoint:
    """Where is to be sent to."""

    tenant_id: str
    endpoint_id: str


@dataclass
class Sent:
    """What a round of sending left: how many attempts it made, and in how many seconds the next one is due.

    0 is now, a negative number never: nothing waits.
    """

    attempts: int = 0
    next_in: float = -1.0
