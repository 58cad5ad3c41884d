"""The commands that steer a run: one dataclass each, the same for the API's updates and for plain Temporal signals.

Standard library only, like `models.wire`. Every field has a default, so that `{"id": "..."}` is a whole command to whoever
types one; `id` makes a command that is sent twice count once, and an empty one is taken as a command of its own.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from dataclasses import dataclass, field
from typing import Any


@dataclass
class PauseCommand:
    """`mode` `soft` lets the steps in flight end; `hard` cancels them, and they begin again at the resume."""

    id: str = ""
    mode: str = "soft"
    reason: str = ""
    actor: str = ""


@dataclass
class ResumeCommand:
    id: str = ""
    actor: str = ""


#: Who wakes runs that waited for money, in their timeline.
FUNDS = "funds"


@dataclass
class FundsCommand:
    """Credits came, or a budget has room: a run that waits for these goes on. Any other run hears nothing of it."""

    id: str = ""


@dataclass
class CancelCommand:
    id: str = ""
    reason: str = ""
    actor: str = ""


@dataclass
class RollbackCommand:
    """Back to a checkpoint, named by its id, its name or its number in the present lineage.

    `edits` as in `POST /checkpoints/{id}/rollback`, or where they lie in the object store. `resume` goes on at once,
    otherwise the run waits as `rolled_back`. `confirm` agrees that what cannot be undone stays.
    """

    id: str = ""
    checkpoint: str = ""
    checkpoint_id: str = ""
    reason: str = ""
    trigger_type: str = "manual"
    edits: dict[str, Any] = field(default_factory=dict)
    edits_blob: str = ""
    resume: bool = False
    confirm: bool = False
    actor: str = ""
    user_id: str = ""


@dataclass
class ApproveCommand:
    """The answer to an approval: `approve`, `reject`, or `edit` with a `value`. `value_blob` is where a value lies that must
    not be seen in the history; a plain signal brings it as it is."""

    id: str = ""
    approval_id: str = ""
    decision: str = "approve"
    value: Any = None
    value_blob: str = ""
    comment: str = ""
    actor: str = ""


@dataclass
class AcknowledgeCommand:
    """A vote on a handoff, by the id or the index of its log entry. Without a term or a hash the present ones are meant."""

    id: str = ""
    log_id: str = ""
    index: int = 0
    voter: str = ""
    valid: bool = True
    term: int = 0
    payload_hash: str = ""
    reason: str = ""
    actor: str = ""


@dataclass
class CommandResult:
    """What a command did: the run's state after it, and whether something is still under way (`pending`)."""

    state: str = ""
    reason: str = ""
    lineage: int = 0
    pending: bool = False
    #: For a rollback: its row, or why it was not done.
    rollback_id: str = ""
    error: str = ""
    code: str = ""
    #: For a vote: how the round stands.
    acks: int = 0
    required: int = 0
    committed: bool = False
