"""What crosses Temporal: one small dataclass per workflow, activity and signal.

Standard library only, so that the workflow sandbox can load it again for each run at no cost. Everything here ends up in
a run's history, readable in the Web UI: references, hashes, names and counters, never a state, a prompt or a secret.
New fields get a default, so that a history recorded before still replays.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from dataclasses import dataclass, field
from typing import Any

from models.wire_handoff import Proposal, Round, Vote
from models.wire_recovery import RunPolicy, Spent


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
class FlowNode:
    """A node of a flow as a run plans it: it may begin when all that it depends on have ended."""

    id: str
    framework: str
    #: What people see.
    name: str = ""
    first_step: str = "start"
    depends_on: list[str] = field(default_factory=list)


@dataclass
class Question:
    """An approval that a step waits for. `deadline` is in seconds since the epoch, 0 for none; then `on_timeout` is taken."""

    approval_id: str
    interrupt_id: str = ""
    deadline: float = 0.0
    on_timeout: str = ""


@dataclass
class Branch:
    """One line of steps within a run: the whole run, or one node of a flow.

    Status: `blocked` (waits for other nodes), `ready`, `waiting` (for answers to `questions`, or for the votes of
    `handoff`), `done`, `skipped`. `step` is the one that comes next; its `index` is given when it starts.
    """

    framework: str
    node: str = ""
    status: str = "ready"
    step: Step | None = None
    checkpoint: CheckpointRef = field(default_factory=CheckpointRef)
    #: The step's row is there already, as attempt 1: the step before made it.
    prepared: bool = False
    #: The step began before and waited: its index is final.
    begun: bool = False
    questions: list[Question] = field(default_factory=list)
    #: The handoff to this step that is being voted on: its log entry's id, and when its term ends (seconds since the epoch).
    handoff: Round | None = None
    log_id: str = ""
    term_ends: float = 0.0
    #: Index of the log entry by which the step's handoff was agreed.
    committed: int = 0
    #: What ran in the branch's last step.
    units: list[str] = field(default_factory=list)
    #: People answered; the step has to be told.
    answered: bool = False
    #: The step waits until then after a failure, in seconds since the epoch.
    not_before: float = 0.0


@dataclass
class RunLimits:
    """How patient a run is, in seconds and counts; from the settings, fixed when it starts."""

    step_timeout: float = 3600.0
    heartbeat_timeout: float = 3.0
    max_failures: int = 5
    retry_initial: float = 1.0
    retry_max: float = 30.0
    retry_backoff: float = 2.0
    max_steps: int = 200
    #: Events of a history after which the run continues as new; the server suggests it at some thousands by itself.
    max_history: int = 4000


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
    #: The definition with the edits of this lineage, in the object store; empty for the version's own.
    definition: str = ""
    #: The nodes of a flow.
    flow: list[FlowNode] = field(default_factory=list)
    policy: RunPolicy | None = None
    spent: Spent = field(default_factory=Spent)
    #: Where the run stands, when it does not begin at its beginning; without it, `checkpoint` and `next_step` say so.
    branches: list[Branch] = field(default_factory=list)
    #: The index of the next step that begins, and of the last entry of the consensus log.
    next_index: int = 0
    log_index: int = 0
    #: Why the run is paused: operator, approval, consensus, recovery, credits ...; empty while it runs.
    paused: str = ""
    #: For `credits` and `budget`: what the call may cost that the run stands before, and the budget.
    required: int = 0
    budget_id: str = ""
    #: The run was rolled back and waits to be resumed.
    rolled_back: bool = False
    #: How many failures the run got over, for the ids of what was done about them.
    recoveries: int = 0
    #: Ids of the commands that were carried out lately.
    seen: list[str] = field(default_factory=list)
    #: Started for one command on a run that had ended: nothing happens before that command is accepted.
    hold_for: str = ""


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
    definition: str = ""
    #: The node of a flow, and where the nodes that it depends on left their outputs: states in the object store.
    node: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    #: What ran in the branch's step before: it hands over.
    senders: list[str] = field(default_factory=list)
    #: People answered questions that the step asked in an earlier attempt.
    answered: bool = False
    #: Index of the log entry by which the handoff to this step was agreed; 0 if there was none.
    committed: int = 0
    policy: RunPolicy | None = None


@dataclass
class HandoffWish:
    """A step may begin only when its handoff is agreed: what is proposed, and the votes that needed nobody."""

    proposal: Proposal = field(default_factory=Proposal)
    votes: list[Vote] = field(default_factory=list)
    #: Names of the voters that are agents to be asked (kind `validator`).
    validators: list[str] = field(default_factory=list)


@dataclass
class StepOutcome:
    """What a step left behind. `next_step` is empty when the run, or the branch, is `done`.

    With `questions`, a `handoff` or `parked` the step is not done: it waits and is then run again. A `skipped` node of a flow was
    not run because its condition did not hold.
    """

    checkpoint: CheckpointRef
    done: bool = False
    next_step: Step | None = None
    #: The next step's row was made along with this checkpoint, as attempt 1.
    prepared: bool = False
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    #: In millionths of a credit.
    cost: int = 0
    #: The names of what ran.
    units: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    handoff: HandoffWish | None = None
    skipped: bool = False
    #: The step stands before a call that cannot be paid for: `credits` or `budget`, what it may cost (in millionths of a
    #: credit), and the budget that does not allow it.
    parked: str = ""
    required: int = 0
    budget_id: str = ""


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
    #: Whether doing the step again could help, and how bad it is where that is known better than from the type.
    recoverable: bool = True
    severity: str = ""
    #: A flow that completed gives the outputs that its nodes ended with: node -> state in the object store.
    is_flow: bool = False
    ends: dict[str, str] = field(default_factory=dict)
    definition: str = ""
    #: Who cancelled it.
    actor: str = ""


@dataclass
class StateInput:
    """A run parks (`paused` with a reason, or `rolled_back`) or goes on (`running`): what the API shows of it."""

    tenant_id: str
    execution_id: str
    lineage: int
    retry: int
    status: str
    reason: str = ""
    actor: str = ""
    note: str = ""
    #: For `credits` and `budget`: what the call may cost that the run stands before, and the budget.
    required: int = 0
    budget_id: str = ""


@dataclass
class RollbackInput:
    """One rollback, as an activity carries it out: undo effects, edit, begin the next lineage. Repeatable by `command_id`."""

    tenant_id: str
    execution_id: str
    version_id: str
    framework: str
    command_id: str
    #: Id, name or number of the checkpoint.
    checkpoint: str
    from_lineage: int
    retry: int = 0
    from_checkpoint: str = ""
    definition: str = ""
    reason: str = ""
    trigger_type: str = "manual"
    edits: dict[str, Any] = field(default_factory=dict)
    edits_blob: str = ""
    #: The action of the run's policy that asked for it: the texts of its prompts are in the stored policy.
    policy_source: str = ""
    resume: bool = False
    confirm: bool = False
    actor: str = ""
    user_id: str = ""


@dataclass
class RollbackOutcome:
    """Where the run stands after a rollback; with an `error` it stands where it stood."""

    error: str = ""
    code: str = ""
    rollback_id: str = ""
    lineage: int = 0
    definition: str = ""
    branches: list[Branch] = field(default_factory=list)
    next_index: int = 0
    steps_done: int = 0


@dataclass
class AnswerInput:
    """What a person, or the default at the deadline, said to an approval. A value comes inline or in the object store."""

    tenant_id: str
    execution_id: str
    approval_id: str
    decision: str
    value: Any = None
    value_blob: str = ""
    actor: str = ""
    comment: str = ""
    expired: bool = False


@dataclass
class FailureInput:
    """A step that failed for good, and what the run does about it now. Repeatable by `command_id`."""

    tenant_id: str
    execution_id: str
    lineage: int
    step: Step
    failure_type: str
    message: str
    command_id: str
    checkpoint: str = ""
    action: str = ""
    action_config: dict[str, Any] = field(default_factory=dict)
    #: The step is tried again as if it had never failed.
    reset: bool = False
    recoverable: bool = True
    severity: str = ""
    #: A person must look at it.
    escalated: bool = False
    note: str = ""


@dataclass
class RoundInput:
    """The state of a consensus round, for the tables that people and services read."""

    tenant_id: str
    execution_id: str
    lineage: int
    step: Step
    log_id: str
    round: Round
    deadline: float = 0.0


@dataclass
class ValidatorsInput:
    """Asks the validator agents of a round for their votes, on behalf of the term's leader."""

    step: StepInput
    log_id: str
    voters: list[str] = field(default_factory=list)
    receivers: list[str] = field(default_factory=list)
    term: int = 1
    leader: str = ""


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
