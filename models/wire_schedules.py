"""What crosses Temporal when a schedule fires: ids and times, never inputs.

Standard library only, like `models.wire`.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from dataclasses import dataclass


@dataclass
class Fire:
    """One time of a schedule. Who types one by hand may leave all but the ids out.

    `at` is the time for which it fires (ISO 8601), empty for what Temporal says; `execution_id` and `since` (seconds since the
    epoch) are set when what waits for an execution continues as new.
    """

    tenant_id: str
    schedule_id: str
    at: str = ""
    execution_id: str = ""
    since: float = 0.0


@dataclass
class Fired:
    """What came of it: the execution, or the code of the error that refused it."""

    execution_id: str = ""
    refused: str = ""
    status: str = ""


@dataclass
class Started:
    """The execution that a schedule started, for those who wait for its end."""

    tenant_id: str
    execution_id: str
    command_id: str = ""
