"""What Semantic Kernel itself has against a definition: its objects are built once, and no call is made."""

from __future__ import annotations

from collections.abc import Iterator

from semantic_kernel.prompt_template import KernelPromptTemplate, PromptTemplateConfig

from activities.adapters.base import ModelEndpoint, StepContext, ToolBox
from activities.adapters.semantic_kernel.build import Workshop, settings_of
from activities.adapters.semantic_kernel.parts import join
from activities.adapters.semantic_kernel.reading import Spec
from omium_core.errors import Problem


def try_to_build(spec: Spec, tools: ToolBox) -> list[Problem]:
    """All problems. To be called on an event loop."""
    workshop = Workshop(StepContext("check", 0, 1, ModelEndpoint("http://127.0.0.1/v1", "none", "model"), tools), {})
    return list(_problems(spec, workshop))


def missing_tools(spec: Spec, tools: ToolBox) -> list[Problem]:
    """The tools that are not registered in this worker."""
    named = [(agent.path, agent.tools) for agent in spec.agents.values()]
    named += [(function.path, function.tools) for function in spec.functions.values()]
    problems = []
    for path, names in named:
        for index, name in enumerate(names):
            try:
                tools.specs([name])
            except Exception as error:
                problems.append(Problem(join(path, f"tools[{index}]"), str(error)))
    return problems


def _problems(spec: Spec, workshop: Workshop) -> Iterator[Problem]:
    for agent in spec.agents.values():
        if agent.is_human:
            continue
        try:
            workshop.agent(agent)
        except Exception as error:
            yield Problem(agent.path, f"Semantic Kernel cannot build this agent: {error}")
            continue
        if agent.fields.template_format == "semantic-kernel":
            yield from _template(agent.fields.instructions, join(agent.path, "instructions"))
    for function in spec.functions.values():
        try:
            settings_of(function.fields.chosen_model)
            workshop.function_kernel(function)
        except Exception as error:
            yield Problem(function.path, f"Semantic Kernel cannot build this function: {error}")
            continue
        if function.fields.template_format == "semantic-kernel":
            yield from _template(function.fields.template, join(function.path, "template"))


def _template(source: str | None, path: str) -> Iterator[Problem]:
    try:
        KernelPromptTemplate(prompt_template_config=PromptTemplateConfig(template=source))
    except Exception as error:
        yield Problem(path, f"Semantic Kernel cannot read this template: {error}")
