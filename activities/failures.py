"""What a failure means to the person who reads it: how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Advice:
    severity: str
    suggestion: str


_ADVICE = {
    "model_unavailable": Advice(
        "high",
        "Check that the model endpoint is up and reachable from the workers, then retry: "
        "the run continues from its last checkpoint and repeats no answered call.",
    ),
    "model_rejected": Advice(
        "high", "Correct the model's name, the key or the request as the endpoint's message says, then retry."
    ),
    "tool_invocation": Advice("medium", "Look at the tool's message. Retry if the cause is gone."),
    "validation_error": Advice("high", "Correct the definition or the inputs and start a new run."),
    "timeout": Advice("medium", "Give the step more time (OMIUM_STEP_TIMEOUT) or less to do, then retry."),
    "worker_lost": Advice("critical", "The workers died over and over in this step: look at their logs and memory."),
    "storage_unavailable": Advice("critical", "Check the database and the object store, then retry."),
    "consensus_violation": Advice(
        "high",
        "Read the votes and their reasons; correct what was handed over, or who must agree, then roll back or retry.",
    ),
    "external_unavailable": Advice(
        "high",
        "Check that the external agent's service is up, then retry: a run of it that was started is followed on.",
    ),
    "external_refused": Advice(
        "high", "Correct the connection (address, token) or the inputs as the service's message says, then retry."
    ),
    "external_failed": Advice("high", "Read why the external agent failed. A retry starts it once more."),
    "external_unknown": Advice(
        "high", "Look at the external agent's service whether a run was started. A retry starts it once more."
    ),
    "hallucination": Advice("high", "Read what the check found, then roll back with a prompt that rules it out."),
    "agent_error": Advice("high", "Look at the error and the agent's code, then retry from the last checkpoint."),
}


_TRACE: Final = "Traceback (most recent call last)"


def advice(failure_type: str) -> Advice:
    return _ADVICE.get(failure_type, _ADVICE["agent_error"])


def split_trace(told: str) -> tuple[str, str | None]:
    """What was told of a failure, as a message and a stack trace; the message is what stands before the trace, else what the
    trace says below its last frame."""
    words, begins, trace = told.partition(f"\n{_TRACE}")
    # a long trace may have lost its beginning: then frames, or a blank line, stand before the next part of it
    if begins and words and not words.startswith(_TRACE) and not words.endswith("\n") and not _frames(words):
        return words, begins.lstrip() + trace
    lines, frames = told.splitlines(), _frames(told)
    if not frames or (_TRACE not in told and not any('  File "' in line for line in lines)):
        return told, None
    # notes that libraries add to an error stand below its own words
    below = [line for line in lines[frames[-1] + 1 :] if line.strip()]
    return (below[0].strip() if below else told), told


def _frames(text: str) -> list[int]:
    """The numbers of the lines that belong to frames."""
    return [index for index, line in enumerate(text.splitlines()) if line.startswith("  ")]
