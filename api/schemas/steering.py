"""Steering a run on the wire: pause, resume, cancel, fork."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.budgets import RunBudget
from api.schemas.common import Request, Text
from api.schemas.executions import ExecutionSummary

Reason = Annotated[Text, Field(max_length=1000)]


class PauseRequest(Request):
    """`soft` lets the step in flight end, `hard` cancels it: it begins again at the resume."""

    reason: Reason = ""
    mode: Literal["soft", "hard"] = "soft"


class ResumeRequest(Request):
    reason: Reason = ""


class CancelRequest(Request):
    reason: Reason = ""


#: What changes when a run goes on from a checkpoint; `activities.edits` reads it.
Edits = Annotated[
    dict[str, Any],
    Field(
        description=(
            "`prompts` maps an agent, task or node (or `*`) to its new prompt: a text, or an object of text fields; "
            "`append_prompts` adds to prompts; `models` maps such a name, or `*`, to another model; `values` are laid "
            "over the state's fields, `inputs` over the run's inputs."
        )
    ),
]


class ForkRequest(Request):
    """`inputs` are laid over the run's inputs, like `edits.inputs`."""

    checkpoint_id: UUID
    edits: Edits = Field(default_factory=dict)
    inputs: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    budget: RunBudget | None = None


class PausedExecution(ExecutionSummary):
    pause_requested: bool = False


class ResumedExecution(ExecutionSummary):
    resumed_at: datetime | None
    resume_requested: bool = False


class CancelledExecution(ExecutionSummary):
    cancelled_at: datetime | None
    cancel_requested: bool = False


class PauseAnswer(BaseModel):
    """200 when the run stands still; 202 with `pause_requested` while a step ends or no worker has answered yet."""

    execution: PausedExecution
    pause_requested: bool
    message: str


class ResumeAnswer(BaseModel):
    execution: ResumedExecution
    resume_requested: bool
    message: str


class CancelAnswer(BaseModel):
    execution: CancelledExecution
    cancel_requested: bool
    message: str
