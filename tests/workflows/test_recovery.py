"""What a run does about its failures: in which order, how often, and that it always comes to an end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.converter import DataConverter

from models.wire_recovery import (
    ActionType,
    AgentPolicy,
    Decision,
    FailureInfo,
    PolicySource,
    RecoveryAction,
    RecoveryRule,
    RetryPolicy,
    RunPolicy,
    Spent,
    Usage,
)
from workflows import recovery

T = TypeVar("T")
TIMEOUT = FailureInfo("timeout", True, "write", ["writer"])
WRONG = FailureInfo("validation_error", True, "write", ["writer"])
HOPELESS = FailureInfo("model_rejected", False, "write", ["writer"])
RETRY, ROLLBACK, ESCALATE = RecoveryAction("retry"), RecoveryAction("rollback"), RecoveryAction("escalate", times=0)


def rules(*actions: RecoveryAction, types: tuple[str, ...] = (), **policy: Any) -> RunPolicy:
    return RunPolicy(rules=[RecoveryRule(failure_types=list(types), actions=list(actions))], **policy)


def decisions(policy: RunPolicy, *failures: FailureInfo) -> list[Decision]:
    """What is decided when these failures come one after the other, and nothing is used."""
    spent, made = Spent(), []
    for failure in failures:
        made.append(recovery.decide(failure, policy, spent, Usage()))
        spent = made[-1].spent
    return made


def taken(policy: RunPolicy, *failures: FailureInfo) -> list[str]:
    return [made.action.type if made.action else made.outcome for made in decisions(policy, *failures)]


def test_without_policies_a_run_fails() -> None:
    decision = recovery.decide(TIMEOUT, RunPolicy(), Spent(), Usage())
    assert (decision.outcome, decision.action) == ("fail", None)
    assert decision.why == "No action is left. The run fails."


def test_actions_are_taken_in_order_each_as_often_as_it_may() -> None:
    policy = rules(replace(RETRY, times=2), ROLLBACK, ESCALATE)
    assert taken(policy, *[TIMEOUT] * 6) == ["retry", "retry", "rollback", "escalate", "escalate", "escalate"]
    outcomes = [made.outcome for made in decisions(policy, *[TIMEOUT] * 4)]
    assert outcomes == ["act", "act", "act", "wait"]


def test_decision_tells_what_and_why() -> None:
    second = decisions(rules(replace(RETRY, times=2)), TIMEOUT, TIMEOUT)[1]
    assert second.source == "rules[0].actions[0]"
    assert second.why == "timeout in write: retry, 2 of 2."


def test_first_rule_for_the_failure_counts_alone() -> None:
    policy = RunPolicy(
        rules=[
            RecoveryRule(["hallucination"], actions=[ROLLBACK]),
            RecoveryRule(["timeout"], agents=["reader"], actions=[ESCALATE]),
            RecoveryRule(["timeout", "worker_lost"], actions=[RETRY]),
            RecoveryRule(actions=[ESCALATE]),
        ]
    )
    assert taken(policy, TIMEOUT, TIMEOUT) == ["retry", "fail"]
    assert taken(policy, HOPELESS) == ["escalate"]
    assert taken(policy, replace(TIMEOUT, agents=["reader"])) == ["escalate"]
    assert taken(policy, replace(TIMEOUT, step="reader", agents=[])) == ["escalate"]


def test_delay_grows_to_its_bound() -> None:
    policy = rules(RecoveryAction("retry", times=4, delay=2, backoff=3, max_delay=10))
    assert [made.delay for made in decisions(policy, *[TIMEOUT] * 4)] == [2, 6, 10, 10]
    assert (
        recovery.decide(TIMEOUT, rules(RecoveryAction(delay=1, backoff=1e300, times=9)), _taken(5), Usage()).delay
        == 3600
    )


def _taken(times: int) -> Spent:
    return Spent({"rules[0].actions[0]": times})


@pytest.mark.parametrize("failure_type", ["validation_error", "hallucination"])
@pytest.mark.parametrize("action", ["retry", "retry_failed_part"])
def test_wrong_answer_is_asked_for_anew(failure_type: str, action: ActionType) -> None:
    decision = recovery.decide(
        replace(WRONG, failure_type=failure_type), rules(RecoveryAction(action)), Spent(), Usage()
    )
    assert decision.action is not None
    assert decision.action.redo
    assert recovery.recorded_type(decision.action) == "retry"


@pytest.mark.parametrize(
    ("action", "redo"),
    [
        (RETRY, False),
        (RecoveryAction("retry", redo=True), True),
        (RecoveryAction("retry_failed_part"), False),
        (RecoveryAction("prompt_edit", prompts={"writer": "x"}), True),
        (RecoveryAction("model_fallback", models={"*": "m"}), True),
        (ROLLBACK, True),
        (ESCALATE, False),
    ],
)
def test_answers_are_kept_where_they_can_be(action: RecoveryAction, redo: bool) -> None:
    decision = recovery.decide(TIMEOUT, rules(action), Spent(), Usage())
    assert decision.action == replace(action, redo=redo)


def test_who_waits_for_a_person_does_nothing_anew() -> None:
    assert recovery.decide(WRONG, rules(ESCALATE), Spent(), Usage()).action == ESCALATE


def test_retry_policy_covers_wrong_answers_which_the_step_does_not_try_again() -> None:
    policy = RunPolicy(retry=RetryPolicy(max_retries=2, initial_interval=1, backoff=2))
    made = decisions(policy, WRONG, WRONG, WRONG)
    assert [(d.outcome, d.delay) for d in made] == [("act", 1), ("act", 2), ("fail", 0)]
    assert made[0].action is not None
    assert made[0].action.redo
    assert taken(policy, TIMEOUT) == ["fail"], "the step tried that itself"
    other = replace(WRONG, step="check")
    assert taken(policy, WRONG, WRONG, other, WRONG) == ["retry", "retry", "retry", "fail"], (
        "each step has its own count"
    )


def test_rule_that_names_the_type_goes_before_the_retry_policy_and_one_for_all_after() -> None:
    retry = RetryPolicy(max_retries=1)
    assert taken(rules(ROLLBACK, types=("validation_error",), retry=retry), WRONG, WRONG) == ["rollback", "fail"]
    assert taken(rules(ROLLBACK, retry=retry), WRONG, WRONG, WRONG) == ["retry", "rollback", "fail"]


def test_agents_own_retry_and_time_go_before_the_runs() -> None:
    policy = RunPolicy(
        step_timeout=60,
        retry=RetryPolicy(1),
        agents={
            "writer": AgentPolicy(10, RetryPolicy(3)),
            "checker": AgentPolicy(step_timeout=20),
            "reader": AgentPolicy(retry=RetryPolicy(2)),
        },
    )
    assert policy.timeout_of(["writer"]) == 10
    assert policy.timeout_of(["writer", "checker"]) == 20
    assert policy.timeout_of(["reader"]) == policy.timeout_of(["nobody"]) == 60
    assert RunPolicy().timeout_of(["nobody"]) is None
    assert policy.retry_of(["reader", "writer"]) == RetryPolicy(3)
    assert policy.retry_of(["checker"]) == RetryPolicy(1)
    assert taken(policy, *[WRONG] * 4) == ["retry"] * 3 + ["fail"]


def test_hopeless_failure_is_not_tried_again_unless_its_type_is_named() -> None:
    assert taken(rules(RETRY, ESCALATE, rollback_on_failure=True), HOPELESS) == ["escalate"]
    assert taken(rules(RETRY, types=("model_rejected",)), HOPELESS) == ["retry"]
    assert taken(RunPolicy(rollback_on_failure=True, retry=RetryPolicy(3)), HOPELESS) == ["fail"]
    fallback = RecoveryAction("model_fallback", models={"*": "other"})
    assert taken(rules(fallback), HOPELESS) == ["model_fallback"], "another model may well accept it"


def test_rollback_on_failure_comes_last() -> None:
    policy = rules(RETRY, rollback_on_failure=True)
    made = decisions(policy, TIMEOUT, TIMEOUT, TIMEOUT)
    assert [d.action.type if d.action else "" for d in made] == ["retry", "rollback", ""]
    assert made[1].action is not None
    assert (made[1].action.to, made[1].action.resume) == ("last", True)
    assert taken(replace(policy, max_rollbacks=2), *[TIMEOUT] * 4) == ["retry", "rollback", "rollback", "fail"]


def test_bound_of_rollbacks_holds_for_all_of_them() -> None:
    policy = rules(replace(ROLLBACK, times=5), rollback_on_failure=True, max_rollbacks=2)
    assert taken(policy, *[TIMEOUT] * 3) == ["rollback", "rollback", "fail"]


def test_prompt_for_what_failed() -> None:
    edit = RecoveryAction("prompt_edit", prompts={"*": "Be exact.", "reader": "Read."}, append=True)

    def prompts(action: RecoveryAction, **failure: Any) -> dict[str, str]:
        decision = recovery.decide(replace(WRONG, **failure), rules(action), Spent(), Usage())
        assert decision.action is not None
        return decision.action.prompts

    named = {"reader": "Read."}
    assert prompts(edit, agents=["writer"]) == edit.prompts, "what comes next is what failed"
    back = replace(edit, steps_back=1)
    assert prompts(back, agents=["writer", "reader"]) == {"writer": "Be exact.", **named}
    assert prompts(back, agents=[]) == {"write": "Be exact.", **named}
    assert prompts(edit, agents=["a", "b"], node="first") == {"first": "Be exact.", **named}, (
        "other branches did not fail"
    )


@pytest.mark.parametrize(
    ("bound", "used", "told"),
    [
        ({"max_tokens": 100}, Usage(tokens=600), "100 tokens"),
        ({"max_model_calls": 3}, Usage(model_calls=8), "3 model calls"),
        ({"max_cost": 50}, Usage(cost=550), "50 millionths of a credit"),
    ],
)
def test_spend_is_bounded_from_the_first_failure_on(bound: dict[str, int], used: Usage, told: str) -> None:
    before = Usage(tokens=500, model_calls=5, cost=500)
    policy = replace(rules(replace(RETRY, times=5)), **bound)  # type: ignore[arg-type]
    first = recovery.decide(TIMEOUT, policy, Spent(), before)
    assert first.outcome == "act", "what was used before is not spent on recovery"
    assert recovery.decide(TIMEOUT, policy, first.spent, before).outcome == "act"
    beyond = recovery.decide(TIMEOUT, policy, first.spent, used)
    assert beyond.outcome == "fail"
    assert beyond.why == f"The bound of {told} for recovery is reached. The run fails."


def test_bound_of_actions_leaves_those_that_wait_for_a_person() -> None:
    policy = rules(replace(RETRY, times=5), ESCALATE, max_actions=2)
    assert taken(policy, *[TIMEOUT] * 4) == ["retry", "retry", "escalate", "escalate"]


def test_exhausted_policy_can_ask_a_person() -> None:
    decision = decisions(rules(RETRY, on_exhausted="escalate"), TIMEOUT, TIMEOUT)[1]
    assert (decision.outcome, decision.source) == ("wait", "on_exhausted")
    assert decision.action == ESCALATE
    assert decision.why == "No action is left. A person must look at it."


TYPES = ["timeout", "validation_error", "hallucination", "agent_error", "model_rejected"]
AGENTS = ["writer", "reader", "checker"]
actions = st.builds(
    RecoveryAction,
    type=st.sampled_from(get_args(ActionType)),
    times=st.integers(0, 4),
    delay=st.floats(0, 100),
    backoff=st.floats(1, 10),
    redo=st.booleans(),
    prompts=st.dictionaries(st.sampled_from([*AGENTS, "*"]), st.text(max_size=5), max_size=2),
)
retries = st.none() | st.builds(RetryPolicy, st.integers(0, 4), st.floats(0, 10), st.floats(1, 4), st.floats(0, 60))
subsets = st.lists(st.sampled_from(AGENTS), unique=True, max_size=2)
policies = st.builds(
    RunPolicy,
    retry=retries,
    agents=st.dictionaries(st.sampled_from(AGENTS), st.builds(AgentPolicy, retry=retries), max_size=2),
    rules=st.lists(
        st.builds(
            RecoveryRule,
            st.lists(st.sampled_from(TYPES), unique=True, max_size=2),
            subsets,
            st.lists(actions, max_size=4),
        ),
        max_size=4,
    ),
    max_actions=st.integers(0, 12),
    max_tokens=st.integers(0, 500),
    max_model_calls=st.integers(0, 10),
    max_cost=st.integers(0, 1000),
    rollback_on_failure=st.booleans(),
    max_rollbacks=st.integers(0, 3),
    on_exhausted=st.sampled_from(["fail", "escalate"]),
    notify=st.lists(st.sampled_from(["failure.*", "*"]), max_size=1),
    sources=st.lists(st.builds(PolicySource, st.text(max_size=4), st.integers(1, 9)), max_size=2),
)
failures = st.builds(FailureInfo, st.sampled_from(TYPES), st.booleans(), st.sampled_from(["a", "b"]), subsets)
uses = st.builds(Usage, st.integers(0, 60), st.integers(0, 3), st.integers(0, 200))


@settings(deadline=None)
@given(policies, st.lists(st.tuples(failures, uses), min_size=1, max_size=40))
def test_bounds_hold_whatever_fails(policy: RunPolicy, course: list[tuple[FailureInfo, Usage]]) -> None:
    spent, used, counts = Spent(), Usage(), dict[str, int]()
    start = course[0][1]
    for failure, more in course:
        used = Usage(used.tokens + more.tokens, used.model_calls + more.model_calls, used.cost + more.cost)
        decision = recovery.decide(failure, policy, spent, used)
        assert decision == recovery.decide(failure, policy, spent, used)
        assert (decision.outcome == "fail") == (decision.action is None)
        if decision.outcome == "act":
            assert decision.action is not None
            counts[decision.source] = counts.get(decision.source, 0) + 1
            assert counts[decision.source] <= decision.action.times
            assert not policy.max_tokens or used.tokens - start.tokens < policy.max_tokens
            assert not policy.max_model_calls or used.model_calls - start.model_calls < policy.max_model_calls
            assert not policy.max_cost or used.cost - start.cost < policy.max_cost
            assert 0 <= decision.delay <= decision.action.max_delay
            if failure.failure_type in recovery.ANSWER_FAILURES:
                assert decision.action.redo
        spent = decision.spent
    assert spent.actions == sum(counts.values())
    assert not policy.max_actions or spent.actions <= policy.max_actions
    rollbacks = policy.max_rollbacks or spent.rollbacks
    assert spent.rollbacks <= rollbacks


@settings(deadline=None)
@given(policies, st.lists(failures, min_size=1, max_size=4))
def test_every_run_comes_to_an_end(policy: RunPolicy, kinds: list[FailureInfo]) -> None:
    """Also without bounds for the whole run: failures of several kinds, in turn, use up all that the policy offers."""
    policy = replace(policy, max_actions=0, max_tokens=0, max_model_calls=0, max_cost=0)
    listed = sum(action.times for rule in policy.rules for action in rule.actions)
    retried = 4 * len({failure.step for failure in kinds})
    most = listed + retried + 3
    spent = Spent()
    for failure in kinds * (most + 1):
        spent = recovery.decide(failure, policy, spent, Usage()).spent
    assert spent.actions <= most
    assert {recovery.decide(failure, policy, spent, Usage()).outcome for failure in kinds} <= {"wait", "fail"}


@settings(deadline=None, max_examples=50)
@given(policies, st.lists(st.tuples(failures, uses), max_size=8))
def test_what_is_kept_survives_its_way_through_temporal(
    policy: RunPolicy, course: list[tuple[FailureInfo, Usage]]
) -> None:
    assert through_temporal(policy, RunPolicy) == policy
    spent = Spent()
    for failure, used in course:
        decision = recovery.decide(failure, policy, spent, used)
        assert through_temporal(decision, Decision) == decision
        spent = through_temporal(decision.spent, Spent)
        assert spent == decision.spent


def through_temporal(value: T, kind: type[T]) -> T:
    """A value as the next run of the same workflow gets it."""
    converter = DataConverter.default.payload_converter
    result: T = converter.from_payloads(converter.to_payloads([value]), [kind])[0]
    return result
