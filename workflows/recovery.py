"""Pure: a failure, the policy of the run and what was done before go in; what to do next comes out.

Called when a step has failed for good: what trying the same step again can mend was tried by the step itself, as often as
its retry policy says. The order of what is tried here:

1. The retry policy, for failures that trying again *with the kept answers* cannot mend, so that the step did not try;
   unless the rule that follows names the failure's type.
2. The actions of the first rule for the failure's type and the step's agent. A failure that would only come again is not
   tried again, unless the rule names its type.
3. A rollback to the last checkpoint, where `rollback_on_failure` says so.
4. `on_exhausted`: the run fails, or waits for a person.

Each action is taken at most `times` times in a run, and all that is done without a person is bounded by `max_actions` and
by what may be spent, so that every run comes to an end. A bound of spend is looked at before an action, which may then
pass it once.

No Temporal, no I/O, no clock, no chance: the same failures in the same order give the same decisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from models.wire_recovery import (
    Decision,
    FailureInfo,
    RecoveryAction,
    RecoveryRule,
    RunPolicy,
    Spent,
    Usage,
)

#: Something was answered and is wrong: with the kept answers the step would fail the same way.
ANSWER_FAILURES = frozenset({"validation_error", "hallucination"})
#: Actions that wait for a person.
WAITING = frozenset({"escalate", "manual_intervention"})
_RETRIES = frozenset({"retry", "retry_failed_part"})
#: What is done differently is done in a new lineage.
_ANEW = frozenset({"rollback", "prompt_edit", "model_fallback"})


@dataclass(frozen=True)
class _Option:
    """An action that the policy offers for a failure, and the place where it is counted."""

    source: str
    action: RecoveryAction


def decide(failure: FailureInfo, policy: RunPolicy, spent: Spent, used: Usage) -> Decision:
    """The next action whose bounds are not used up, with the counts after it. `used` is the run's use so far."""
    spent = spent if spent.before is not None else replace(spent, before=used)
    bound = _bound_reached(policy, spent, used)
    for option in _options(failure, policy):
        if _left(option, policy, spent) and (not bound or _waits(option.action)):
            return _take(option, failure, spent)
    why = f"{bound} " if bound else "No action is left. "
    if policy.on_exhausted == "escalate":
        why += "A person must look at it."
        return Decision("wait", RecoveryAction("escalate", times=0), source="on_exhausted", why=why, spent=spent)
    return Decision("fail", source="on_exhausted", why=why + "The run fails.", spent=spent)


def recorded_type(action: RecoveryAction) -> str:
    """The type under which an action is recorded: to try again only the failed part is a retry."""
    return "retry" if action.type in _RETRIES else action.type


def _options(failure: FailureInfo, policy: RunPolicy) -> Iterator[_Option]:
    index = next((index for index, rule in enumerate(policy.rules) if _matches(rule, failure)), None)
    rule = policy.rules[index] if index is not None else RecoveryRule()
    if not rule.failure_types:
        yield from _by_retry_policy(failure, policy)
    for place, action in enumerate(rule.actions):
        # who names a failure's type knows what can be done about it; a rule for all cannot
        if rule.failure_types or failure.retryable or action.type not in _RETRIES:
            yield _Option(f"rules[{index}].actions[{place}]", action)
    if policy.rollback_on_failure and failure.retryable:
        yield _Option("rollback", RecoveryAction("rollback", times=max(policy.max_rollbacks, 1)))


def _matches(rule: RecoveryRule, failure: FailureInfo) -> bool:
    of_type = not rule.failure_types or failure.failure_type in rule.failure_types
    return of_type and (not rule.agents or not set(rule.agents).isdisjoint([failure.step, *failure.agents]))


def _by_retry_policy(failure: FailureInfo, policy: RunPolicy) -> Iterator[_Option]:
    retry = policy.retry_of(failure.agents or [failure.step])
    if retry is None or not failure.retryable or failure.failure_type not in ANSWER_FAILURES:
        return
    yield _Option(
        # the policy speaks of a step, so each step has its own count
        f"retry[{failure.step}]",
        RecoveryAction(
            "retry",
            times=retry.max_retries,
            delay=retry.initial_interval,
            backoff=retry.backoff,
            max_delay=retry.max_interval,
        ),
    )


def _waits(action: RecoveryAction) -> bool:
    return action.type in WAITING


def _left(option: _Option, policy: RunPolicy, spent: Spent) -> bool:
    action = option.action
    if _waits(action) and action.times == 0:
        return True
    if action.type == "rollback" and policy.max_rollbacks and spent.rollbacks >= policy.max_rollbacks:
        return False
    return spent.taken.get(option.source, 0) < action.times


def _bound_reached(policy: RunPolicy, spent: Spent, used: Usage) -> str:
    """A sentence on the first bound that is used up; empty while there is none."""
    before = spent.before or Usage()
    bounds = (
        (policy.max_actions, spent.actions, "actions"),
        (policy.max_tokens, used.tokens - before.tokens, "tokens"),
        (policy.max_model_calls, used.model_calls - before.model_calls, "model calls"),
        (policy.max_cost, used.cost - before.cost, "millionths of a credit"),
    )
    reached = next(((most, what) for most, spent_, what in bounds if most and spent_ >= most), None)
    return f"The bound of {reached[0]} {reached[1]} for recovery is reached." if reached else ""


def _take(option: _Option, failure: FailureInfo, spent: Spent) -> Decision:
    action, taken = option.action, spent.taken.get(option.source, 0)
    of = f" of {action.times}" if action.times else ""
    return Decision(
        outcome="wait" if _waits(action) else "act",
        action=_fitted(action, failure),
        delay=_delay(action, taken),
        source=option.source,
        why=f"{failure.failure_type} in {failure.step}: {action.type}, {taken + 1}{of}.",
        spent=replace(
            spent,
            taken={**spent.taken, option.source: taken + 1},
            actions=spent.actions + (not _waits(action)),
            rollbacks=spent.rollbacks + (action.type == "rollback"),
        ),
    )


def _fitted(action: RecoveryAction, failure: FailureInfo) -> RecoveryAction:
    """An action for this failure: `*` among the prompts is what failed, and what cannot be mended by kept answers is redone.

    Right before the failure, `*` stays: the rollback knows better than a list of names which prompts of what comes next
    matter. In a flow other branches come next too, and further back other steps do.
    """
    redo = action.redo or action.type in _ANEW or failure.failure_type in ANSWER_FAILURES
    prompts = dict(action.prompts)
    if "*" in prompts and (failure.node or action.to != "last" or action.steps_back):
        text = prompts.pop("*")
        names = [failure.node] if failure.node else failure.agents or [failure.step]
        prompts = {**dict.fromkeys(names, text), **prompts}
    return replace(action, redo=redo and not _waits(action), prompts=prompts)


def _delay(action: RecoveryAction, taken: int) -> float:
    """Seconds before an action that was taken so often before."""
    if _waits(action) or not action.delay:
        return 0.0
    try:
        return min(action.delay * action.backoff**taken, action.max_delay)
    except OverflowError:
        return action.max_delay
