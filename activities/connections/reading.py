"""What services say, read liberally: words for a status, places of a result, counts of tokens. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from activities.adapters.base import Json
from activities.connections.base import Phase, Tokens

_SUCCEEDED: Final = frozenset(
    {"success", "succeeded", "successful", "complete", "completed", "finished", "finish", "done", "ok", "passed"}
)
_FAILED: Final = frozenset(
    {"failed", "failure", "fail", "error", "errored", "timeout", "timed_out", "timedout", "crashed", "aborted"}
    | {"rejected", "expired", "exception", "unsuccessful", "faulted"}
)
_CANCELLED: Final = frozenset(
    {"cancelled", "canceled", "cancel", "stopped", "interrupted", "terminated", "killed", "revoked", "abandoned"}
)
_RUNNING: Final = frozenset(
    {"started", "starting", "running", "pending", "queued", "created", "active", "in_progress", "processing", "busy"}
    | {"initializing", "scheduled", "waiting", "accepted", "submitted", "kicked_off"}
)

#: The words that the documentation of the API uses.
SHOWN: Final[Mapping[Phase, str]] = {
    "running": "RUNNING",
    "succeeded": "COMPLETE",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}

#: Words by which some services say no more than that they answer.
_ANSWERED: Final = frozenset({"success", "ok"})
#: What some services write beside the word: `RUN_STATUS_COMPLETED`, `execution failed`, `completed successfully`.
_FILLERS: Final = frozenset(
    {
        "execution",
        "run",
        "task",
        "crew",
        "flow",
        "job",
        "kickoff",
        "status",
        "state",
        "is",
        "was",
        "has",
        "successfully",
    }
)
_STATUS_NAMES: Final = ("status", "state", "execution_status", "run_status", "kickoff_status")
_ID_NAMES: Final = (
    "kickoff_id",
    "kickoffId",
    "id",
    "job_id",
    "jobId",
    "execution_id",
    "executionId",
    "run_id",
    "task_id",
)
_RESULT_NAMES: Final = (
    "result",
    "output",
    "outputs",
    "final_output",
    "finalOutput",
    "raw",
    "response",
    "answer",
    "text",
)
_DATA_NAMES: Final = ("json_dict", "result_json", "json", "pydantic", "data")
_ERROR_NAMES: Final = ("error", "error_message", "errorMessage", "message", "detail", "reason", "result")
_USAGE_NAMES: Final = (
    "token_usage",
    "tokenUsage",
    "usage",
    "usage_metrics",
    "usageMetrics",
    "usage_metadata",
    "tokens",
)
_WRAPPERS: Final = ("data", "execution", "run", "job", "kickoff", "task", "status")
#: The longest id of a run that is kept and asked for.
LONGEST_ID: Final = 150
_MOST_TOKENS: Final = 2**31 - 1
#: Levels of the deepest answer that is read.
_DEEPEST: Final = 64


def cleaned(document: Json, depth: int = 0) -> Json:
    """An answer as it can be kept and told on: without NUL, halves of surrogate pairs and infinite numbers.

    Raises `ValueError` for one that is nested too deep.
    """
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if isinstance(document, str):
        return _text(document)
    if isinstance(document, dict):
        return {_text(name): cleaned(value, depth + 1) for name, value in document.items()}
    if isinstance(document, list):
        return [cleaned(value, depth + 1) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def phase_of(word: str) -> Phase:
    """What a service's word means, in any case; a word that nobody knows means that the run goes on."""
    plain = _plain(word)
    if plain in _SUCCEEDED:
        return "succeeded"
    if plain in _FAILED:
        return "failed"
    return "cancelled" if plain in _CANCELLED else "running"


def shown(word: str) -> str:
    """The word of the documentation for a service's word; one that nobody knows as it is."""
    phase = phase_of(word)
    return word[:100] if phase == "running" and word.strip() and not _is_known(word) else SHOWN[phase]


def word_of(document: Json) -> str:
    """The status in an answer; empty where there is none.

    A service may say in one field what a person reads and in another the word. It may also say first that the question
    was answered well, and further in how the run stands.
    """
    if isinstance(document, str):
        return document.strip() if _is_known(document) else ""
    places = [words for place in _places(document) if (words := _words(place))]
    if not places:
        return ""
    word = next(filter(_is_known, places[0]), places[0][0])
    if _plain(word) in _ANSWERED and not any(_places(document)[0].get(name) for name in _RESULT_NAMES):
        known = (other for words in places for other in words if _is_known(other))
        return next((other for other in known if phase_of(other) != "succeeded"), word)
    return word


def id_of(document: Json) -> str:
    """The id of a run in the answer to its kickoff; empty where there is none that can be asked for."""
    values = [document, *(place.get(name) for place in _places(document) for name in _ID_NAMES)]
    return next((found for value in values if (found := _id(value))), "")


def result_of(document: Json) -> tuple[str, Json]:
    """What a run gave: as text, and as data where it is more than a text."""
    found = _result(document)
    if isinstance(found, Mapping):
        data = next((found[name] for name in _DATA_NAMES if isinstance(found.get(name), (dict, list))), None)
        inner = _result(found)
        text = inner if isinstance(inner, str) else json.dumps(found, ensure_ascii=False)
        return text, dict(found) if data is None else data
    for place in _places(document):
        for name in _DATA_NAMES[:3]:
            if isinstance(place.get(name), (dict, list)):
                return text_of(found), place[name]
    if found is None or isinstance(found, str):
        return found or "", None
    return text_of(found), found


def error_of(document: Json) -> str:
    """Why a run failed, in the service's words."""
    for place in _places(document):
        for name in _ERROR_NAMES:
            value = place.get(name)
            if isinstance(value, str) and value.strip():
                return value.strip()
            if isinstance(value, Mapping) and (inner := error_of(value)):
                return inner
    return ""


def tokens_of(document: Json) -> Tokens | None:
    """What a run used: a number, or counts by one of their usual names, in the answer or in its result."""
    result = document.get("result") if isinstance(document, Mapping) else None
    for place in (*_places(document), *_places(result)):
        for name in (*_USAGE_NAMES, "total_tokens"):
            found = _tokens(place.get(name))
            if found is not None:
                return found
    return None


def text_of(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def added(counts: Iterable[Tokens | None]) -> Tokens | None:
    """The sum of what is known; None where nothing is."""
    known = [count for count in counts if count is not None]
    return Tokens(sum(c.input for c in known), sum(c.output for c in known)) if known else None


def _tokens(value: Json) -> Tokens | None:
    if isinstance(value, Mapping):
        given = _count(value, "input_tokens", "prompt_tokens", "promptTokens", "inputTokens")
        made = _count(value, "output_tokens", "completion_tokens", "completionTokens", "outputTokens")
        total = _count(value, "total_tokens", "totalTokens", "total")
        if given is None and made is None and total is None:
            return None
        made = made or 0
        return Tokens(given if given is not None else max((total or 0) - made, 0), made)
    number = _number(value)
    return None if number is None else Tokens(number, 0)


def _count(value: Mapping[str, Any], *names: str) -> int | None:
    return next((number for name in names if (number := _number(value.get(name))) is not None), None)


def _number(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    return int(min(max(value, 0), _MOST_TOKENS))


def _result(document: Json) -> Json:
    for place in _places(document):
        for name in _RESULT_NAMES:
            if place.get(name) not in (None, ""):
                return place[name]
    return None


def _words(place: Mapping[str, Any]) -> list[str]:
    given = (place.get(name) for name in _STATUS_NAMES)
    return [word.strip()[:100] for word in given if isinstance(word, str) and word.strip()]


def _id(value: Json) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    try:
        found = str(value).strip()
    except ValueError:
        # a number of thousands of digits
        return ""
    return found if len(found) <= LONGEST_ID and found.isprintable() else ""


def _text(text: str) -> str:
    return text.replace("\x00", "").encode(errors="replace").decode()


def _plain(word: str) -> str:
    plain = word.strip(" .!\t\r\n").lower().replace("-", "_").replace(" ", "_")
    if plain in _SUCCEEDED | _FAILED | _CANCELLED | _RUNNING:
        return plain
    return "_".join(part for part in plain.split("_") if part and part not in _FILLERS)


def _is_known(word: str) -> bool:
    return _plain(word) in _SUCCEEDED | _FAILED | _CANCELLED | _RUNNING


def _places(document: Json) -> list[Mapping[str, Any]]:
    """The answer itself, and what some services wrap it in."""
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, Mapping):
        return []
    return [document, *(document[name] for name in _WRAPPERS if isinstance(document.get(name), Mapping))]
