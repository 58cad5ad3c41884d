"""What a step asks for before it takes over from the one before: a proposal, and the votes that need nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from activities.contracts.evaluation import Scope, StepContract, broken_conditions, rendered_text
from activities.contracts.reading import Contracts, Placed
from activities.contracts.spec import AgentVoter, Handoff, ValidatorVoter, voter_name
from models.wire_handoff import Proposal, Vote, Voter


@dataclass(frozen=True)
class Validator:
    """A model that votes: its prompt, filled, and its model where one is named."""

    name: str
    prompt: str
    model: str | None = None


@dataclass(frozen=True)
class HandoffAsk:
    """What has to be agreed. `votes` are those of agents, by their pre-conditions; they name no term, so they are meant
    for the present one. Their reasons name conditions by their paths and hold no data of the run."""

    proposal: Proposal
    votes: tuple[Vote, ...] = ()
    validators: tuple[Validator, ...] = ()


def handoff_ask(
    contracts: Contracts, step: StepContract, senders: Sequence[str], scope: Scope, payload_hash: str
) -> HandoffAsk | None:
    """What a step that takes over from `senders` has to have agreed; None if nothing is declared for that.

    `senders` are the units of the step before, none for the first step. A unit that goes on with its own work is handed
    nothing, unless a handoff names it as sender as well. Where several handoffs lead into one step, all voters of all of
    them must agree. `ContractBroken` if a prompt cannot be filled.
    """
    entries = _declared(step, senders)
    if not entries:
        return None
    voters: dict[str, Voter] = {}
    validators: dict[str, Validator] = {}
    for entry in entries:
        for index, voter in enumerate(entry.part.all_voters):
            name, kind = voter_name(voter)
            path = f"{entry.path}.voters[{index}]"
            if isinstance(voter, ValidatorVoter):
                prompt = rendered_text(voter.prompt, f"{path}.prompt", scope)
                before = validators.get(name)
                told = f"{before.prompt}\n\n{prompt}" if before else prompt
                validators[name] = Validator(name, told, voter.model or (before.model if before else None))
            voters.setdefault(name, Voter(name, kind))
    votes = [
        _agent_vote(voter.name, contracts, step, entries, scope, payload_hash)
        for voter in voters.values()
        if voter.kind == "agent"
    ]
    first = entries[0].part
    proposal = Proposal(
        sender=first.sender or senders[0],
        receivers=list(dict.fromkeys(entry.part.to for entry in entries)),
        voters=list(voters.values()),
        payload_hash=payload_hash,
        name=first.name or "",
        quorum=first.quorum if len(entries) == 1 else "all",
        max_terms=max(entry.part.max_terms for entry in entries),
        term_seconds=max(entry.part.term_seconds for entry in entries),
    )
    return HandoffAsk(proposal, tuple(votes), tuple(validators.values()))


def _declared(step: StepContract, senders: Sequence[str]) -> list[Placed[Handoff]]:
    """The handoffs from these senders. One that names the sender goes before one that does not, for each receiver."""
    if not senders:
        return []
    found = step.contracts.handoffs
    named = [entry for entry in found if entry.part.sender in senders]
    receivers = {entry.part.to for entry in named} | set(senders)
    return named + [entry for entry in found if entry.part.sender is None and entry.part.to not in receivers]


def _agent_vote(
    name: str,
    contracts: Contracts,
    step: StepContract,
    entries: Sequence[Placed[Handoff]],
    scope: Scope,
    payload_hash: str,
) -> Vote:
    broken = []
    count = 0
    for entry in entries:
        for index, voter in enumerate(entry.part.all_voters):
            if isinstance(voter, AgentVoter) and voter.agent == name:
                path = f"{entry.path}.voters[{index}].preconditions"
                broken += broken_conditions(voter.preconditions, path, scope)
                count += len(voter.preconditions)
    receivers = {entry.part.to for entry in entries}
    # the only receiver is the whole step: its task's conditions are its agent's
    names = step.units if receivers == {name} else (name,)
    for checkpoint in contracts.checkpoints:
        if checkpoint.part.matches(names):
            conditions = checkpoint.part.preconditions
            broken += broken_conditions(conditions, f"{checkpoint.path}.preconditions", scope, checkpoint.part)
            count += len(conditions)
    if broken:
        reason = f"{', '.join(one.path for one in broken)}: does not hold."
    else:
        reason = "All pre-conditions hold." if count else "There are no pre-conditions."
    return Vote(name, not broken, 0, payload_hash, reason)
