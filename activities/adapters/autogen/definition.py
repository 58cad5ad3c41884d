"""The pure half of the AutoGen adapter: judges and plans a team without importing AutoGen.

A definition is component JSON as AutoGen Studio exports it and `dump_component` writes it: a team, or one AssistantAgent.
One turn of the team is one step. `inputs.task` is the first message, else the inputs as JSON text. The outputs are
`{"messages": [{"source", "content", "type"}], "raw": <text of the last message>, "stop_reason"}`.
"""

from __future__ import annotations

from typing import Final

from activities.adapters.autogen.checks import check_team, check_tools
from activities.adapters.autogen.edits import apply_edit
from activities.adapters.autogen.published import definition_schema
from activities.adapters.autogen.reading import Reading, read_team
from activities.adapters.autogen.spec import TeamSpec
from activities.adapters.autogen.states import first_state, last_text, next_speakers, read_state, result_of, step_name
from activities.adapters.base import BadDefinition, Edit, JsonObject, Plan
from omium_core.errors import InvalidInput, Problem


class AutoGenDefinition:
    """Implements `FrameworkDefinition` for teams."""

    name = "autogen"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems of a team, with paths such as `config.participants[1].provider`."""
        reading = read_team(definition)
        problems = list(reading.notes.problems)
        if reading.team is not None and not problems:
            problems += check_team(reading.team)
        if reading.team is not None and tools is not None:
            problems += check_tools(reading.team, tools)
        return problems

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """Nothing: any inputs make a first message."""
        return []

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """The first turn; only running tells what follows, but for one agent and a team that runs as one step."""
        reading = read_team(definition)
        team = _team(reading)
        warnings = list(reading.notes.warnings)
        if not team.is_stepped:
            warnings.append(f"A {team.kind} runs as one step: it has no checkpoints between its turns.")
        elif team.condition is None and team.config.max_turns is None and team.graph is None:
            warnings.append(
                "Nothing ends this team but the limit of steps: give it a termination_condition or max_turns."
            )
        return Plan(
            steps=(step_name(team, first_state(inputs)),),
            open_ended=team.is_stepped and not (team.is_single and not team.people),
            agents=team.names,
            warnings=tuple(warnings),
        )

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Only for tools that are not known here: what a definition holds of code is never run."""
        team = read_team(definition).team
        return team is not None and not tools.issuperset(tool.name for one in team.participants for tool in one.tools)

    def json_schema(self) -> JsonObject:
        """The JSON Schema of teams."""
        return definition_schema()

    def view(self, state: JsonObject) -> JsonObject:
        """The inputs, what was said, and the end if it has come."""
        current = read_state(state)
        return {"inputs": current.inputs, "turns": current.turn, **result_of(current)}

    def values(self, state: JsonObject) -> JsonObject:
        """`messages`, `last` (the text of the last one), and the last text of each agent under its name."""
        messages = read_state(state).messages
        said = {one["source"]: last_text(messages, one["source"]) for one in messages}
        by_name = {name: text for name, text in said.items() if name.isidentifier()}
        return {**by_name, "messages": messages, "last": last_text(messages) or ""}

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """The names of the agents, or of the person, who speak next."""
        return next_speakers(_team(read_team(definition)), read_state(state))

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """All participants and the people that they hand over to; a team that runs as one step goes by its name too."""
        team = read_team(definition).team
        if team is None:
            return frozenset()
        return frozenset(team.names) | team.people | (frozenset() if team.is_stepped else {team.name})

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """Prompts and models go into the definition, inputs and messages into the state.

        A prompt is an agent's `system_message`, or `selector_prompt` under the team's name; `description` can be set too.
        The one value that can be set is `messages`.
        """
        reading = read_team(definition)
        _team(reading)
        changed, after = apply_edit(reading, definition, read_state(state), edit)
        problems = self.validate(changed, tools=None)
        if problems:
            raise InvalidInput("The edited team cannot run.", [Problem("prompts", p.message) for p in problems])
        return changed, after.to_json()


def _team(reading: Reading) -> TeamSpec:
    for problem in reading.notes.problems:
        raise BadDefinition(f"{problem.path}: {problem.message}")
    if reading.team is None:
        raise BadDefinition("The definition is no team.")
    return reading.team


DEFINITION: Final = AutoGenDefinition()
