"""Reads a definition into a `TeamSpec`, collecting every problem with the path of its field, and every warning.

Pure. What is read is well-formed field by field; whether the parts fit together is the business of `checks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from activities.adapters.autogen import conditions, schema
from activities.adapters.autogen.components import (
    Component,
    Notes,
    check_template,
    component,
    fields,
    join,
    path_of,
    unwrap,
)
from activities.adapters.autogen.spec import AgentSpec, Condition, Context, TeamSpec, Tool
from activities.adapters.base import JsonObject

#: Combinations of conditions inside each other.
_DEEPEST: Final = 20


@dataclass
class Reading:
    """What was read, and what was found on the way. The team is None when nothing of it could be read."""

    team: TeamSpec | None
    notes: Notes
    #: The keys that lead from the definition's root to the team.
    keys: tuple[str | int, ...] = ()


def read_team(definition: JsonObject) -> Reading:
    """Reads a whole definition; a team with problems in some parts is read without these."""
    notes = Notes()
    keys, value = unwrap(definition, notes)
    if notes.problems:
        return Reading(None, notes, keys)
    found = component(value, path_of(keys), (*schema.TEAMS, "AssistantAgent"), "a team or an AssistantAgent", notes)
    return Reading(_Reader(notes).team(found) if found else None, notes, keys)


class _Reader:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def team(self, found: Component) -> TeamSpec | None:
        if found.kind == "AssistantAgent":
            agent = self._assistant(found)
            config = schema.TeamConfig(participants=[found.config], max_turns=1)
            return TeamSpec(found.kind, agent.name, found.config_path, config, (agent,)) if agent else None
        path = found.config_path
        config_or_none = fields(schema.TEAM_CONFIGS[found.kind], found.config, path, self._notes)
        if config_or_none is None:
            return None
        team: schema.TeamConfig = config_or_none
        return TeamSpec(
            kind=found.kind,
            name=team.name or found.kind,
            config_path=path,
            config=team,
            participants=tuple(self._participants(team, join(path, "participants"))),
            condition=self._condition(team.termination_condition, join(path, "termination_condition")),
            **self._leader(team, path),
        )

    def _leader(self, team: schema.TeamConfig, path: str) -> dict[str, Any]:
        """The model of the team itself, where it has one."""
        if isinstance(team, schema.SelectorConfig):
            if team.selector_prompt is not None:
                prompt_path = join(path, "selector_prompt")
                check_template(team.selector_prompt, sorted(schema.SELECTOR_FIELDS), prompt_path, self._notes)
            context = self._context(team.model_context, join(path, "model_context"))
            return {"model": self._model(team.model_client, join(path, "model_client")), "context": context}
        if isinstance(team, schema.MagenticConfig):
            return {"model": self._model(team.model_client, join(path, "model_client"))}
        return {}

    def _participants(self, team: schema.TeamConfig, path: str) -> Iterator[AgentSpec]:
        for index, value in enumerate(team.participants):
            found = component(value, f"{path}[{index}]", schema.AGENTS, "a participant", self._notes)
            agent = found and (self._assistant(found) if found.kind == "AssistantAgent" else self._person(found))
            if agent:
                yield agent

    def _person(self, found: Component) -> AgentSpec | None:
        config = fields(schema.UserProxyConfig, found.config, found.config_path, self._notes)
        return AgentSpec(config.name, found.config_path, config) if config else None

    def _assistant(self, found: Component) -> AgentSpec | None:
        path = found.config_path
        config = fields(schema.AssistantConfig, found.config, path, self._notes)
        if config is None:
            return None
        summary_path = join(path, "tool_call_summary_format")
        check_template(config.tool_call_summary_format, sorted(schema.SUMMARY_FIELDS), summary_path, self._notes)
        tools = [*self._tools(config.tools, join(path, "tools")), *self._workbenches(config.workbench, path)]
        return AgentSpec(
            name=config.name,
            config_path=path,
            config=config,
            model=self._model(config.model_client, join(path, "model_client")),
            tools=tuple(tools),
            handoffs=tuple(
                schema.Handoff(target=one) if isinstance(one, str) else one for one in config.handoffs or ()
            ),
            context=self._context(config.model_context, join(path, "model_context")),
            output=self._output(config.structured_message_factory, join(path, "structured_message_factory")),
        )

    def _model(self, value: Any, path: str) -> schema.ModelConfig:
        """A model; without one, the platform's default."""
        if value is None:
            return schema.ModelConfig()
        found = component(value, path, schema.MODELS, "a model client", self._notes)
        config = found and fields(schema.ModelConfig, found.config, found.config_path, self._notes)
        return config or schema.ModelConfig()

    def _context(self, value: Any, path: str) -> Context | None:
        found = (
            component(value, path, conditions.CONTEXTS, "a model context", self._notes) if value is not None else None
        )
        config = found and fields(conditions.CONTEXT_CONFIGS[found.kind], found.config, found.config_path, self._notes)
        return Context(found.kind, config) if found and config else None

    def _output(self, value: Any, path: str) -> schema.StructuredOutput | None:
        what = "a message factory"
        found = component(value, path, schema.FACTORIES, what, self._notes) if value is not None else None
        config = fields(schema.StructuredOutput, found.config, found.config_path, self._notes) if found else None
        if found and config and config.format_string is not None:
            names = config.json_schema.get("properties")
            known = list(names) if isinstance(names, dict) else []
            check_template(config.format_string, known, join(found.config_path, "format_string"), self._notes)
        return config

    def _workbenches(self, value: Any, path: str) -> Iterator[Tool]:
        """The tools inside workbenches. Only those with a list of tools are known; others reach past the platform."""
        listed = isinstance(value, list)
        for index, item in enumerate(value if listed else [] if value is None else [value]):
            here = join(path, f"workbench[{index}]" if listed else "workbench")
            found = component(item, here, schema.WORKBENCHES, "a workbench", self._notes)
            if found:
                yield from self._tools(found.config.get("tools") or [], join(found.config_path, "tools"))

    def _tools(self, value: Any, path: str) -> Iterator[Tool]:
        if value is not None and not isinstance(value, list):
            self._notes.problem(path, "This must be a list of tools.")
            return
        for index, item in enumerate(value or ()):
            tool = self._tool(item, f"{path}[{index}]")
            if tool:
                yield tool

    def _tool(self, item: Any, path: str) -> Tool | None:
        if isinstance(item, str) and item:
            return Tool(item, path)
        if isinstance(item, dict) and "provider" not in item and "tool_type" not in item:
            name, name_path, code = item.get("name"), join(path, "name"), item.get("content") or item.get("source_code")
        else:
            found = component(item, path, schema.TOOLS, "a tool", self._notes)
            if found is None:
                return None
            name, name_path = found.config.get("name"), join(found.config_path, "name")
            code = found.config.get("source_code") or found.config.get("content")
        if not isinstance(name, str) or not name:
            self._notes.problem(name_path, "A tool needs the name of a registered tool.")
            return None
        if code:
            self._notes.warn(
                f"{path}: the source code of {name!r} is left out, code inside a definition is never executed: "
                "the tool that is registered under this name is called."
            )
        return Tool(name, name_path)

    def _condition(self, value: Any, path: str, depth: int = 0) -> Condition | None:
        if value is None and depth == 0:
            return None
        if depth > _DEEPEST:
            self._notes.problem(path, f"Conditions can be combined {_DEEPEST} deep, and no deeper.")
            return None
        found = component(value, path, conditions.CONDITIONS, "a termination condition", self._notes)
        config = found and fields(conditions.CONDITIONS[found.kind], found.config, found.config_path, self._notes)
        if not found or not config:
            return None
        self._tell_of(found, config)
        parts = config.conditions if isinstance(config, conditions.Combination) else []
        inner = [
            self._condition(part, f"{join(found.config_path, 'conditions')}[{index}]", depth + 1)
            for index, part in enumerate(parts)
        ]
        return Condition(found.kind, config, tuple(part for part in inner if part))

    def _tell_of(self, found: Component, config: schema.Part) -> None:
        if found.kind == "ExternalTermination":
            self._notes.warn(f"{found.path}: nothing sets an ExternalTermination; pause or cancel the run instead.")
        elif found.kind == "TimeoutTermination":
            self._notes.warn(f"{found.path}: a TimeoutTermination counts the time that turns take, and no waiting.")
        elif isinstance(config, conditions.TokenUsage) and config == conditions.TokenUsage():
            self._notes.problem(found.config_path, "A limit is required: max_total_token, max_prompt_token or ...")
