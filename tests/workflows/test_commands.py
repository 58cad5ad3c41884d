"""What people type as a signal, and the command that it is."""

from __future__ import annotations

from typing import Any

import pytest

from models.wire_commands import AcknowledgeCommand, PauseCommand, RollbackCommand
from workflows.commands import NoCommand, read_command


@pytest.mark.parametrize(
    "typed",
    [
        {"log_id": "l", "voter": "ada", "valid": False},
        {"log_id": "l", "agent_id": "ada", "accept": False},
        {"log_id": "l", "agent": "ada", "valid": False, "mood": "bad"},
    ],
)
def test_vote_in_the_words_of_the_api(typed: dict[str, Any]) -> None:
    assert read_command(AcknowledgeCommand, [typed]) == AcknowledgeCommand(log_id="l", voter="ada", valid=False)


@pytest.mark.parametrize("arguments", [[], [None], [{}]])
def test_nothing_is_the_command_with_its_defaults(arguments: list[Any]) -> None:
    assert read_command(PauseCommand, arguments) == PauseCommand()


@pytest.mark.parametrize(
    "arguments",
    [["now"], [["a"]], [{}, {}], [{"mode": ["soft"]}], [{"id": None}], [{"id": "x" * 2001}], [{"id": True}]],
)
def test_nonsense_is_told(arguments: list[Any]) -> None:
    with pytest.raises(NoCommand):
        read_command(PauseCommand, arguments)


def test_numbers_may_stand_for_names() -> None:
    assert read_command(RollbackCommand, [{"checkpoint": 3, "resume": True}]).checkpoint == "3"
