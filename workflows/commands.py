"""Pure: a plain Temporal signal -> a command, or the reason why it is none.

Whoever types a signal may type anything: no argument, two of them, a text where an object belongs. A handler that raised
would fail the run or wedge it, so what makes no sense is told here and dropped by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from models.wire_commands import AcknowledgeCommand

Command = TypeVar("Command")

#: Ids of commands, as they fit rows and updates.
MAX_TEXT = 2_000
#: Names that the API knows fields by, for whoever types a signal with the API's words.
_OTHER_NAMES: dict[type[Any], dict[str, str]] = {
    AcknowledgeCommand: {"agent_id": "voter", "agent": "voter", "accept": "valid"},
}


class NoCommand(ValueError):
    """What was sent is no command; the message says why."""


def read_command(kind: type[Command], arguments: Sequence[Any]) -> Command:
    """The command that a signal's arguments are; without arguments, the command with its defaults.

    Unknown keys are passed over, so that newer senders can talk to older runs. Raises `NoCommand`.
    """
    if len(arguments) > 1:
        raise NoCommand(f"takes one argument, got {len(arguments)}")
    given = arguments[0] if arguments and arguments[0] is not None else {}
    if not isinstance(given, dict):
        raise NoCommand(f"takes an object, got {type(given).__name__}")
    given = {_OTHER_NAMES.get(kind, {}).get(name, name): value for name, value in given.items()}
    hints = get_type_hints(kind)
    return kind(**{f.name: _fitting(f.name, hints[f.name], given[f.name]) for f in fields(kind) if f.name in given})  # type: ignore[arg-type]


def _fitting(name: str, hint: Any, value: Any) -> Any:
    if hint is Any:
        return value
    if hint is str and isinstance(value, (str, int)) and not isinstance(value, bool) and len(str(value)) <= MAX_TEXT:
        return str(value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint not in (str, bool, int) and isinstance(value, dict):
        return value
    raise NoCommand(f"{name} is {type(value).__name__}, which does not fit")
