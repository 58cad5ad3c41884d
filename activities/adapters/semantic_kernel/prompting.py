"""One prompt function: its template is filled and sent to a model."""

from __future__ import annotations

from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.functions import KernelArguments, KernelFunctionFromPrompt

from activities.adapters.base import JsonObject
from activities.adapters.semantic_kernel.build import Workshop, settings_of
from activities.adapters.semantic_kernel.reading import Function
from activities.adapters.semantic_kernel.states import last_text, task_of


async def run_function(workshop: Workshop, function: Function, state: JsonObject) -> str:
    """The text that the model answers. Tools of the function may be called by the model, and by its template."""
    fields = function.fields
    trusted = None
    if not fields.allow_dangerously_set_content:
        trusted = frozenset(v.name for v in fields.input_variables if v.allow_dangerously_set_content)
    template = workshop.template(
        fields.template, fields.template_format, variables_of(function, state), function.tools, trusted=trusted
    )
    settings = settings_of(fields.chosen_model)
    if function.tools:
        settings.function_choice_behavior = FunctionChoiceBehavior.Auto()
    built = KernelFunctionFromPrompt(
        function_name=function.name, description=fields.description, prompt_template=template
    )
    result = await built.invoke(workshop.function_kernel(function), KernelArguments(settings=settings))
    return str(result) if result is not None else ""


def variables_of(function: Function, state: JsonObject) -> JsonObject:
    """What a template may use: defaults, inputs, earlier results, and `input`: the result before, at first the task."""
    inputs, results = state["inputs"], state["results"]
    defaults = {v.name: v.default for v in function.fields.input_variables if v.default is not None}
    before = last_text(state) if results else task_of(inputs)
    return {"input": before, **defaults, **inputs, **results}
