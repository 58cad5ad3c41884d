"""Builds Semantic Kernel's objects for one step: services behind the gateway, kernels with tools, agents, templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from openai import AsyncOpenAI
from pydantic import PrivateAttr
from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
from semantic_kernel.filters import FilterTypes
from semantic_kernel.functions import KernelArguments
from semantic_kernel.prompt_template import InputVariable, KernelPromptTemplate, PromptTemplateConfig
from semantic_kernel.prompt_template.prompt_template_base import PromptTemplateBase

from activities.adapters.base import Json, JsonObject, StepContext, ToolBox
from activities.adapters.model_clients import client_for
from activities.adapters.semantic_kernel import prompts
from activities.adapters.semantic_kernel.reading import Agent, Function
from activities.adapters.semantic_kernel.schema import AgentFields, FunctionChoice, ModelFields
from activities.adapters.semantic_kernel.states import as_text
from activities.adapters.semantic_kernel.tools import InOrder, ToolKernel, add_tools


class GatewayChat(OpenAIChatCompletion):
    """A model behind the gateway. Tools are offered with the JSON Schema that they were registered with."""

    _parameters: dict[str, JsonObject] = PrivateAttr(default_factory=dict)

    def offer(self, parameters: Mapping[str, JsonObject]) -> None:
        self._parameters = dict(parameters)

    def _update_function_choice_settings_callback(self) -> Callable[..., None]:
        update = super()._update_function_choice_settings_callback()

        def with_parameters(configuration: Any, settings: Any, choice: Any) -> None:
            update(configuration, settings, choice)
            for tool in settings.tools or ():
                function = tool["function"]
                function["parameters"] = self._parameters.get(function["name"], function["parameters"])

        return with_parameters


class FilledTemplate(PromptTemplateBase):
    """A template with the values that fill it. Arguments of the framework's own are not looked at."""

    _form: str = PrivateAttr()
    _values: JsonObject = PrivateAttr()
    _kernel: Kernel = PrivateAttr()
    _trusted: frozenset[str] = PrivateAttr()

    def fill(self, form: str, values: JsonObject, kernel: Kernel, trusted: frozenset[str]) -> None:
        """`kernel` has the tools that the template may call. Only `trusted` values may be markup of a chat prompt."""
        self._form, self._values, self._kernel, self._trusted = form, values, kernel, trusted

    async def render(self, kernel: Kernel, arguments: KernelArguments | None = None) -> str:
        source = self.prompt_template_config.template or ""
        if self._form != "semantic-kernel":
            safe = {name: value if self._is_trusted(name) else escaped(value) for name, value in self._values.items()}
            return prompts.render(source, self._form, safe)
        variables = [InputVariable(name=name, allow_dangerously_set_content=True) for name in self._trusted]
        config = PromptTemplateConfig(template=source, input_variables=variables)
        given = KernelArguments()
        given.update({name: "" if value is None else as_text(value) for name, value in self._values.items()})
        allow = self.allow_dangerously_set_content
        template = KernelPromptTemplate(prompt_template_config=config, allow_dangerously_set_content=allow)
        return await template.render(self._kernel, given)

    def _is_trusted(self, name: str) -> bool:
        return self.allow_dangerously_set_content or name in self._trusted


class Workshop:
    """Builds for one attempt of a step."""

    def __init__(self, context: StepContext, inputs: JsonObject) -> None:
        self._context, self._inputs = context, inputs
        self._client: AsyncOpenAI = client_for(context.model)

    def service(self, model: ModelFields) -> GatewayChat:
        name = model.id or self._context.model.default_model
        return GatewayChat(ai_model_id=name, async_client=self._client)  # type: ignore[call-arg]

    def agent(self, agent: Agent) -> ChatCompletionAgent:
        """An agent with a kernel of its own."""
        fields = agent.fields
        kernel = self._kernel(fields.chosen_model, agent.tools)
        built = ChatCompletionAgent(
            name=agent.name,
            description=fields.description,
            instructions=fields.instructions,
            kernel=kernel,
            arguments=KernelArguments(settings=settings_of(fields.chosen_model)),
            function_choice_behavior=_choice(fields),
        )
        if fields.instructions:
            defaults = {name: given.default for name, given in fields.inputs.items()}
            built.prompt_template = self.template(
                fields.instructions, fields.template_format, defaults | self._inputs, agent.tools
            )
        return built

    def function_kernel(self, function: Function) -> ToolKernel:
        """The kernel in which a prompt function runs."""
        return self._kernel(function.fields.chosen_model, function.tools)

    def template(
        self,
        source: str,
        form: str,
        values: JsonObject,
        tools: Sequence[str],
        *,
        trusted: frozenset[str] | None = None,
    ) -> FilledTemplate:
        """A template that knows its values; a tool that fails in it fails the step. Without `trusted` all values are."""
        kernel = ToolKernel()
        add_tools(kernel, self._context.tools.specs(tools), self._context.tools, strict=True)
        config = PromptTemplateConfig(template=source)
        template = FilledTemplate(prompt_template_config=config, allow_dangerously_set_content=trusted is None)
        template.fill(form, values, kernel, trusted or frozenset())
        return template

    def _kernel(self, model: ModelFields, tools: Sequence[str]) -> ToolKernel:
        toolbox: ToolBox = self._context.tools
        specs = toolbox.specs(tools)
        service = self.service(model)
        service.offer({spec.name: spec.parameters for spec in specs})
        kernel = ToolKernel(services=service)
        add_tools(kernel, specs, toolbox)
        kernel.add_filter(FilterTypes.AUTO_FUNCTION_INVOCATION, InOrder())
        return kernel


def settings_of(model: ModelFields, **more: Any) -> OpenAIChatPromptExecutionSettings:
    """The parameters of a model's calls."""
    options = model.options.model_dump(exclude_none=True)
    if isinstance(options.get("response_format"), str):
        options["response_format"] = {"type": options["response_format"]}
    return OpenAIChatPromptExecutionSettings(**options, **more)


def escaped(value: Json) -> Json:
    """A value whose texts cannot be taken for the markup of a chat prompt."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return {key: escaped(item) for key, item in value.items()} if isinstance(value, dict) else value


def _choice(fields: AgentFields) -> FunctionChoiceBehavior:
    given = fields.function_choice_behavior
    choice = given if isinstance(given, FunctionChoice) else FunctionChoice(type=given or "auto")
    if choice.type == "none":
        return FunctionChoiceBehavior.NoneInvoke()
    behavior = FunctionChoiceBehavior.Auto() if choice.type == "auto" else FunctionChoiceBehavior.Required()
    if choice.maximum_auto_invoke_attempts is not None:
        behavior.maximum_auto_invoke_attempts = choice.maximum_auto_invoke_attempts
    return behavior
