"""What a failure was, why it happened and what helps: read out of what is stored of it. Pure, by rules, without a model.

The stored message begins in our own words; what an endpoint, a tool or a condition said follows a colon. `docs/policies.md`
tells users of the types and of what is suggested.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from activities import failures
from activities.traces import Frame, exception_name, users_frame

#: How far back failures of the same kind are counted, in days, and how many of them are no accident.
DAYS = 7
OFTEN = 3

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Observed:
    """A failure as it was recorded. `cause` is what the run said of it in our own words, `alike` how often the same happened.

    `editable` says that the step has a prompt which can be changed, `earlier` that there is a checkpoint before the last
    one, `default_model` is the one of the settings, if there is one.
    """

    failure_type: str
    severity: str
    message: str
    cause: str = ""
    stack_trace: str | None = None
    step: str | None = None
    attempts: int = 0
    recoverable: bool = True
    alike: int = 0
    editable: bool = False
    earlier: bool = False
    default_model: str | None = None


@dataclass(frozen=True)
class Suggestion:
    """What `recover` takes as it is."""

    action_type: str
    action_config: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Analysis:
    """`failure_type` may be another one than that of the row: what the trace says is more exact. `evidence` is what was found."""

    failure_type: str
    severity: str
    root_cause: str
    suggested_fix: str
    is_recoverable: bool
    suggested_action: Suggestion
    similar: int = 0
    evidence: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class _Finding:
    cause: str
    fix: str
    action: Suggestion
    evidence: JsonObject = field(default_factory=dict)
    failure_type: str = ""
    recoverable: bool | None = None


RETRY = Suggestion("retry")
REDO = Suggestion("retry", {"redo": True})


def analyze(seen: Observed) -> Analysis:
    found = _RULES.get(seen.failure_type, _unknown)(seen)
    fix = found.fix
    if seen.alike >= OFTEN:
        fix += f" It is no accident: the same happened {seen.alike} more times in {DAYS} days."
    kind = found.failure_type or seen.failure_type
    # a severity that a check named itself is kept
    is_own = seen.severity != failures.advice(seen.failure_type).severity
    severity = seen.severity if is_own or kind == seen.failure_type else failures.advice(kind).severity
    return Analysis(
        failure_type=kind,
        severity=severity,
        root_cause=found.cause,
        suggested_fix=fix,
        is_recoverable=seen.recoverable if found.recoverable is None else found.recoverable,
        suggested_action=found.action,
        similar=seen.alike,
        evidence=found.evidence,
    )


def _person(note: str) -> Suggestion:
    return Suggestion("manual_intervention", {"note": note[:500]})


# Models

_ENDPOINT = re.compile(r"[Tt]he model endpoint (\S+?)[.:]?(?:\s|$)")
_STATUS = re.compile(r"(?:answered|refused a call with) (\d{3})")


def _endpoint(seen: Observed) -> tuple[str, int | None, JsonObject]:
    named, status = _ENDPOINT.search(seen.message), _STATUS.search(seen.message)
    evidence: JsonObject = {"attempts": seen.attempts}
    if named:
        evidence["endpoint"] = named[1]
    if status:
        evidence["http_status"] = int(status[1])
    return f"The model endpoint {named[1]}" if named else "The model endpoint", evidence.get("http_status"), evidence


def _model_unavailable(seen: Observed) -> _Finding:
    endpoint, status, evidence = _endpoint(seen)
    tries = f" in {seen.attempts} attempts" if seen.attempts > 1 else ""
    if status == 429:
        cause = f"{endpoint} answered 429{tries}: it limits how often it may be called."
        fix = "Wait or raise the limit, then retry. A retry policy with longer pauses does that without a person."
    elif status is not None:
        cause = f"{endpoint} answered {status}{tries}: it is overloaded, or something behind it is down."
        fix = "Check the endpoint, then retry: the run goes on from its last checkpoint and repeats no answered call."
    else:
        said = seen.message.partition(": ")[2] or "no answer"
        cause = f"{endpoint} could not be reached{tries}: {said.rstrip('.')}."
        fix = "Check that it is up and that the workers can reach it (OMIUM_LLM_BASE_URL), then retry."
    return _Finding(cause, fix, RETRY, evidence, recoverable=True)


def _model_rejected(seen: Observed) -> _Finding:
    endpoint, status, evidence = _endpoint(seen)
    said = seen.message.partition(": ")[2].strip() or seen.message
    cause = f"{endpoint} refused the call with {status or 'an error'}: {said}"
    if status in (401, 403):
        fix = "Give the workers a key that is valid for this endpoint and model (OMIUM_LLM_API_KEY), then retry."
        return _Finding(cause, fix, _person(fix), evidence)
    about_model = status == 404 or ("model" in said.lower() and "not" in said.lower())
    if about_model and seen.default_model and seen.default_model not in said:
        fix = f"The endpoint does not serve this model: correct its name, or go on with {seen.default_model}."
        return _Finding(cause, fix, Suggestion("model_fallback", {"model": seen.default_model}), evidence)
    if "context" in said.lower() and ("length" in said.lower() or "token" in said.lower()):
        fix = "The request is too long for this model: shorten what the step is given, or take a model with more room."
        return _Finding(cause, fix, _person(fix), evidence)
    fix = "Correct the request as the endpoint says: the model's name, its settings, or what the step sends."
    return _Finding(cause, fix, _person(fix), evidence)


# Tools, time, workers

_TOOL_ARGUMENTS = re.compile(r"[Ww]rong arguments for ([\w.-]+): (.*)", re.DOTALL)
_NO_TOOL = re.compile(r"There is no tool '([^']+)'")
_SECONDS = re.compile(r"longer than ([\d.]+) s")


def _tool_invocation(seen: Observed) -> _Finding:
    said = seen.message.removeprefix("A tool failed: ").strip()
    evidence: JsonObject = {"tool_said": said, "attempts": seen.attempts}
    if wrong := _TOOL_ARGUMENTS.search(said):
        evidence["tool"] = wrong[1]
        cause = f"The tool {wrong[1]} was called with arguments that it does not take: {wrong[2]}"
        if seen.editable:
            text = f"When you call the tool {wrong[1]}, mind its arguments. Last time: {wrong[2]}"
            fix = f"Say in the prompt how {wrong[1]} is called, or let the model try again."
            return _Finding(cause, fix, _more_prompt(text), evidence, recoverable=True)
        return _Finding(cause, "Correct the arguments in the definition.", _person(cause), evidence)
    if unknown := _NO_TOOL.search(said):
        evidence["tool"] = unknown[1]
        fix = f"Register {unknown[1]} with the workers (OMIUM_TOOL_MODULES), or correct its name, then retry."
        return _Finding(f"No worker knows the tool {unknown[1]}.", fix, _person(fix), evidence)
    fix = "See whether what the tool needs is up and lets it in, then retry: answered calls are not made again."
    return _Finding(f"A tool failed: {said}", fix, RETRY, evidence)


def _timeout(seen: Observed) -> _Finding:
    limit = _SECONDS.search(seen.message)
    step = f"The step {seen.step}" if seen.step else "A step"
    within = f" within {limit[1]} s" if limit else " in time"
    evidence: JsonObject = {"attempts": seen.attempts}
    if limit:
        evidence["limit_seconds"] = float(limit[1])
    fix = "Give it more time with a timeout policy, or less to do, then retry: what was answered is not asked again."
    return _Finding(f"{step} did not end{within}.", fix, RETRY, evidence, recoverable=True)


def _worker_lost(seen: Observed) -> _Finding:
    step = f" of {seen.step}" if seen.step else ""
    cause = f"Each worker that took the step{step} died in it: most likely it needs more memory than there is."
    fix = "Look at the workers' logs and memory, give them more of it, then retry."
    return _Finding(cause, fix, RETRY, {"attempts": seen.attempts}, recoverable=True)


def _storage_unavailable(seen: Observed) -> _Finding:
    fix = "Check the database and the object store, then retry: nothing is wrong with the step."
    return _Finding(seen.message, fix, RETRY, recoverable=True)


def _run_ended(seen: Observed) -> _Finding:
    said = seen.message or seen.cause or "The run ended in Temporal."
    fix = "Find out who ended it in Temporal, then retry: the run goes on from its last checkpoint."
    return _Finding(said, fix, RETRY, failure_type="run_ended", recoverable=True)


# Contracts and definitions

_BEFORE = re.compile(r"Pre-conditions? of [^:]*\bnot hold")
_AFTER = re.compile(r"[^:]*\bnot as promised")
_BROKEN = re.compile(r"(?P<message>[^;`]*?)(?: - )?`(?P<condition>[^`]+)`(?: \((?P<found>.*?)\))?(?=;|$)", re.DOTALL)
#: Of all that a definition can be wrong in, what is wrong with a state.
_STATE = ("The checkpoint cannot be read", "The state after the step cannot be stored", "The state cannot be stored")
_OPENS_A_TEMPLATE = re.compile(r"\{(?=[{%#$^/>!&A-Za-z_])")
_STEPS = re.compile(r"did not end within (\d+) steps")


def _validation_error(seen: Observed) -> _Finding:
    if _AFTER.match(seen.message):
        return _broken_output(seen)
    if _BEFORE.match(seen.message):
        return _broken_input(seen)
    if seen.message.startswith(_STATE):
        fix = "Roll back to an earlier checkpoint, or correct the step that wrote this state."
        action = _step_back(seen)
        return _Finding(seen.message, fix, action, failure_type="state_sync", recoverable=seen.earlier)
    if bound := _STEPS.search(seen.message):
        fix = f"Find out why it goes round and round, or allow more than {bound[1]} steps (max_steps), and start anew."
        return _Finding(seen.message, fix, _person(fix), {"max_steps": int(bound[1])}, recoverable=False)
    if "rejected" in seen.message.lower():
        fix = "Roll back with an edit that answers the objection, or accept that the run ends here."
        return _Finding(seen.message, fix, _mend(seen, f"A person refused this: {seen.message}"))
    fix = "Correct the definition or the inputs and start a new run, or fork this one with edits."
    return _Finding(seen.message, fix, _person(fix), recoverable=False)


def _hallucination(seen: Observed) -> _Finding:
    return _broken_output(seen)


def _broken_output(seen: Observed) -> _Finding:
    broken = _conditions(seen.message)
    told = "; ".join(_in_words(one) for one in broken) or seen.message.partition(": ")[2] or seen.message
    what = "made something up" if seen.failure_type == "hallucination" else "is not as the definition promises"
    cause = f"What {seen.step or 'the step'} gave {what}: {told}"
    if seen.failure_type == "hallucination":
        cause = f"{seen.step or 'The step'} {what}: {told}"
    text = f"Your last answer was refused. {told} Give an answer for which this is right."
    fix = "Say in the prompt what must hold, and let the step be done again."
    if not seen.editable:
        fix = "Let the step be done again; if it fails the same way, correct it or its condition."
    return _Finding(cause, fix, _mend(seen, text), {"conditions": broken}, recoverable=True)


def _broken_input(seen: Observed) -> _Finding:
    broken = _conditions(seen.message)
    told = "; ".join(_in_words(one) for one in broken) or seen.message.partition(": ")[2] or seen.message
    cause = f"{seen.step or 'The step'} could not begin with what the steps before it left: {told}"
    fix = "Roll back to before the step that left this, or edit the values, and go on from there."
    return _Finding(cause, fix, _step_back(seen), {"conditions": broken}, recoverable=seen.earlier)


def _conditions(message: str) -> list[JsonObject]:
    said = message.partition(": ")[2]
    found = []
    for match in _BROKEN.finditer(said):
        parts = {name: (text or "").strip(" ;") for name, text in match.groupdict().items()}
        found.append({name: text for name, text in parts.items() if text})
    return found


def _in_words(broken: JsonObject) -> str:
    found = f" (found: {broken['found']})" if "found" in broken else ""
    message = f"{broken['message'].rstrip('.')}: " if "message" in broken else ""
    return f"{message}{broken['condition']} must hold{found}."


def _consensus_violation(seen: Observed) -> _Finding:
    said = seen.message.partition(". ")[2] or seen.message
    fix = "Read the votes and their reasons; correct what is handed over, or who must agree, and let it be done again."
    return _Finding(f"The handoff was not agreed: {said}", fix, _step_back(seen), recoverable=True)


def _mend(seen: Observed, text: str) -> Suggestion:
    """Doing the step again: with more in its prompt, where it has one."""
    return _more_prompt(text) if seen.editable else REDO


def _more_prompt(text: str) -> Suggestion:
    # prompts are templates of several kinds, and what was found may hold anything
    plain = _OPENS_A_TEMPLATE.sub("{ ", text[:2000])
    return Suggestion("prompt_edit", {"new_prompt": plain, "append": True})


def _step_back(seen: Observed) -> Suggestion:
    return Suggestion("rollback", {"steps_back": 1}) if seen.earlier else REDO


# The agent's own code

_BY_EXCEPTION = {
    "TimeoutError": "timeout",
    "ReadTimeout": "timeout",
    "ConnectTimeout": "timeout",
    "APITimeoutError": "timeout",
    "JSONDecodeError": "validation_error",
    "ValidationError": "validation_error",
}


def _agent_error(seen: Observed) -> _Finding:
    frame = users_frame(seen.stack_trace or "")
    name = exception_name(seen.message)
    kind = _BY_EXCEPTION.get(name.rpartition(".")[2], "")
    evidence: JsonObject = {"exception": name, "attempts": seen.attempts} if name else {"attempts": seen.attempts}
    if frame is None:
        fix = "Look at the message and the worker's log, then retry from the last checkpoint."
        return _Finding(seen.message or seen.cause, fix, RETRY, evidence, kind)
    evidence["frame"] = {"file": frame.file, "line": frame.line, "function": frame.function, "code": frame.code}
    cause = f"{seen.message.rstrip('.')}, raised in {_place(frame)}"
    cause += f": `{frame.code}`" if frame.code else "."
    if kind == "timeout":
        fix = f"What {frame.function} waits for took too long: see whether it is up, or wait longer for it, then retry."
    elif kind == "validation_error":
        fix = f"{frame.function} was given something that it cannot read: ask for another form of it, or read it otherwise."
        return _Finding(cause, fix, _mend(seen, f"Your last answer could not be read: {seen.message}"), evidence, kind)
    else:
        fix = f"Correct {frame.function} in {_place(frame)}, restart the workers with it, then retry."
    return _Finding(cause, fix, RETRY, evidence, kind)


def _place(frame: Frame) -> str:
    return f"{frame.file}, line {frame.line}, in {frame.function}"


def _unknown(seen: Observed) -> _Finding:
    return _agent_error(seen)


_RULES: dict[str, Callable[[Observed], _Finding]] = {
    "agent_error": _agent_error,
    "consensus_violation": _consensus_violation,
    "hallucination": _hallucination,
    "model_rejected": _model_rejected,
    "model_unavailable": _model_unavailable,
    "run_ended": _run_ended,
    "state_sync": _validation_error,
    "storage_unavailable": _storage_unavailable,
    "timeout": _timeout,
    "tool_invocation": _tool_invocation,
    "validation_error": _validation_error,
    "worker_lost": _worker_lost,
    "workflow_ended": _run_ended,
}
