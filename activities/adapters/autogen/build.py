"""Builds AutoGen's objects for one turn from a team as read. Nothing that a definition names is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from autogen_agentchat import base, conditions, teams
from autogen_agentchat.agents import AssistantAgent, UserProxyAgent
from autogen_agentchat.base import ChatAgent, Handoff, TerminationCondition
from autogen_agentchat.messages import MessageFactory, StructuredMessageFactory
from autogen_core import CancellationToken, model_context
from autogen_core.model_context import ChatCompletionContext

from activities.adapters.autogen import schema
from activities.adapters.autogen.clients import GatewayClient
from activities.adapters.autogen.conditions import Timeout
from activities.adapters.autogen.spec import AgentSpec, Condition, Context, TeamSpec
from activities.adapters.autogen.tools import RegisteredTools
from activities.adapters.autogen.turns import TurnControl
from activities.adapters.base import Json, ModelEndpoint, ToolBox

#: The name under which AutoGen keeps the state of each team's own part.
MANAGERS: Final = {
    "AssistantAgent": "RoundRobinGroupChatManager",
    "RoundRobinGroupChat": "RoundRobinGroupChatManager",
    "SelectorGroupChat": "SelectorGroupChatManager",
    "Swarm": "SwarmGroupChatManager",
    "GraphFlow": "GraphManager",
    "MagenticOneGroupChat": "MagenticOneOrchestrator",
}


@dataclass
class TeamBuilder:
    """Builds one team for one turn. `shown` is what a person is shown when the turn comes to them."""

    spec: TeamSpec
    endpoint: ModelEndpoint
    toolbox: ToolBox
    control: TurnControl
    shown: Json = None
    _outputs: dict[str, StructuredMessageFactory] = field(default_factory=dict)

    def team(self) -> teams.BaseGroupChat:
        """The team, set to stop after one turn; one that cannot be stepped keeps its own ends."""
        spec, config = self.spec, self.spec.config
        options: dict[str, Any] = {"name": config.name, "description": config.description, "max_turns": 1}
        participants: list[Any] = [self._agent(agent) for agent in spec.participants]
        options["custom_message_types"] = self.structured_types() or None
        if isinstance(config, schema.SelectorConfig):
            options |= _given(config, "selector_prompt", "allow_repeated_speaker", "max_selector_attempts")
            options |= _given(config, "model_client_streaming")
            options |= {"model_client": self._model(spec.model), "model_context": self._context(spec.context)}
            return teams.SelectorGroupChat(participants, **options)
        if isinstance(config, schema.GraphConfig):
            graph = teams.DiGraph.model_validate(config.graph.model_dump())
            return teams.GraphFlow(participants, graph=graph, **options)
        if isinstance(config, schema.MagenticConfig):
            options |= _given(config, "max_stalls", "final_answer_prompt", "max_turns")
            condition = spec.condition and build_condition(spec.condition)
            options |= {"model_client": self._model(spec.model), "termination_condition": condition}
            return teams.MagenticOneGroupChat(participants, **options)
        if spec.kind == "Swarm":
            return teams.Swarm(participants, **options)
        return teams.RoundRobinGroupChat(participants, **options)

    def structured_types(self) -> list[Any]:
        """The types of messages that agents with structured output send."""
        return [factory.StructuredMessage for factory in self._outputs.values()]

    def messages(self) -> MessageFactory:
        """Makes messages of the team from dumped ones; the team was built before."""
        factory = MessageFactory()
        for kind in self.structured_types():
            factory.register(kind)
        return factory

    def _agent(self, spec: AgentSpec) -> ChatAgent:
        config = spec.config
        if isinstance(config, schema.UserProxyConfig):
            return UserProxyAgent(config.name, description=config.description, input_func=self._input_of(spec))
        output = self._output(spec)
        names = [tool.name for tool in spec.tools]
        options = _given(config, "description", "metadata", "reflect_on_tool_use", "tool_call_summary_format")
        return AssistantAgent(
            config.name,
            self._model(spec.model),
            workbench=RegisteredTools(names, self.toolbox, self.control) if names else None,
            handoffs=[Handoff(**handoff.model_dump()) for handoff in spec.handoffs] or None,
            model_context=self._context(spec.context),
            system_message=config.system_message,
            model_client_stream=config.model_client_stream,
            max_tool_iterations=config.max_tool_iterations,
            output_content_type=output.ContentModel if output else None,
            output_content_type_format=output.format_string if output else None,
            **options,
        )

    def _input_of(self, spec: AgentSpec) -> Any:
        async def answer(prompt: str, token: CancellationToken | None = None) -> str:
            return self.control.ask(spec.name, self.shown)

        return answer

    def _model(self, model: schema.ModelConfig | None) -> GatewayClient:
        return GatewayClient(model or schema.ModelConfig(), self.endpoint, self.control)

    def _context(self, context: Context | None) -> ChatCompletionContext | None:
        if context is None:
            return None
        options = context.fields.model_dump(exclude_none=True)
        kind = getattr(model_context, context.kind)
        if context.kind == "TokenLimitedChatCompletionContext":
            options["model_client"] = self._model(None)
        # through its own schema, which makes messages of what stands in `initial_messages`
        if "initial_messages" in options:
            shape = model_context.UnboundedChatCompletionContext.component_config_schema
            options["initial_messages"] = shape(initial_messages=options["initial_messages"]).initial_messages
        built: ChatCompletionContext = kind(**options)
        return built

    def _output(self, spec: AgentSpec) -> StructuredMessageFactory | None:
        """The shape of an agent's answers; its name is the agent's too, since shapes of one team must not share a name."""
        if spec.output is None:
            return None
        name = spec.output.content_model_name
        if any(factory.ContentModel.__name__ == name for factory in self._outputs.values()):
            name = f"{name}_{spec.name}"
        factory = StructuredMessageFactory(
            json_schema=spec.output.json_schema,
            format_string=spec.output.format_string,
            content_model_name=name,
        )
        self._outputs[spec.name] = factory
        return factory


def build_condition(condition: Condition, *, elapsed: float = 0.0) -> TerminationCondition:
    """A fresh condition. `elapsed` are the seconds that earlier turns took, for a TimeoutTermination."""
    parts = [build_condition(part, elapsed=elapsed) for part in condition.parts]
    if parts:
        combined: TerminationCondition = getattr(base, condition.kind)(*parts)
        return combined
    options = condition.fields.model_dump(exclude_none=True)
    if isinstance(condition.fields, Timeout):
        options = {"timeout_seconds": max(condition.fields.timeout_seconds - elapsed, 0.0)}
    built: TerminationCondition = getattr(conditions, condition.kind)(**options)
    return built


def _given(config: schema.Part, *names: str) -> dict[str, Any]:
    """Fields of a definition, without those that AutoGen has a value for itself."""
    return {name: value for name in names if (value := getattr(config, name)) is not None}
