"""What crosses Temporal: one small dataclass per workflow, activity and signal.

Standard library only, so that the workflow sandbox can load it again for each run at no cost. Everything here ends up in
a run's history, readable in the Web UI: references, hashes, names and counters, never a state, a prompt or a secret.
New fields get a default, so that a history recorded before still replays.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from dataclasses import dataclass, field


@dataclass
class CheckpointRef:
    """Where a state lies. `number` counts from 1 within an execution; 0 with an empty `blob` is the state before step 1."""

    id: str = ""
    number: int = 0
    blob: str = ""
    size: int = 0


@dataclass
class Step:
    """A step that is ready to run: its index (from 0, within its lineage), and the name that people see."""

    index: int
    name: str


@dataclass
class RunLimits:
    """How patient a run is, in seconds and counts; from the settings, fixed when it starts."""

    step_timeout: float = 3600.0
    heartbeat_timeout: float = 3.0
    max_failures: int = 5
    retry_initial: float = 1.0
    retry_max: float = 30.0
    max_steps: int = 200


@dataclass
class RunInput:
    """Start of a run, and what one Temporal run hands to the next when it continues as new."""

    tenant_id: str
    execution_id: str
    version_id: str
    framework: str
    title: str
    first_step: str
    limits: RunLimits = field(default_factory=RunLimits)
    lineage: int = 0
    #: Steps known in advance; 0 where only running tells (a graph).
    planned_steps: int = 0
    checkpoint: CheckpointRef = field(default_factory=CheckpointRef)
    #: Set when the run continues from a checkpoint: the step that comes next.
    next_step: Step | None = None
    steps_done: int = 0
    #: What the Temporal runs before this one used, as the details show it.
    totals: dict[str, int] = field(default_factory=dict)
    #: How often the execution had been taken up again when this run began.
    retry: int = 0


@dataclass
class StepInput:
    """One step of one execution."""

    tenant_id: str
    execution_id: str
    version_id: str
    framework: str
    lineage: int
    step: Step
    checkpoint: CheckpointRef
    limits: RunLimits
    #: The step's row is there already, as attempt 1: the step before made it.
    prepared: bool = False


@dataclass
class StepOutcome:
    """What a step left behind. `next_step` is empty when the run is `done`."""

    checkpoint: CheckpointRef
    done: bool = False
    next_step: Step | None = None
    #: The next step's row was made along with this checkpoint, as attempt 1.
    prepared: bool = False
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0


@dataclass
class RunResult:
    """End of a run, as the Web UI shows it."""

    status: str
    steps: int
    checkpoint: CheckpointRef


@dataclass
class FinishInput:
    """The end of a run that no step could record: it failed or was cancelled."""

    tenant_id: str
    execution_id: str
    lineage: int
    status: str
    step: Step | None = None
    failure_type: str = ""
    message: str = ""
    #: The end of an earlier run must not end one that was taken up since.
    retry: int = 0


@dataclass
class CheckInput:
    """A definition whose truth only an import can tell, for a worker to look at; `blob` is where it lies."""

    tenant_id: str
    framework: str
    blob: str


@dataclass
class CheckOutcome:
    """Pairs of path and message; empty when the definition loads and compiles."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    #: Name of the first step, for the run's summary.
    first_step: str = ""
