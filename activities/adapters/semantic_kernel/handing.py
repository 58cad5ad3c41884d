"""A turn in a handoff: the agent may hand the conversation over, complete the task, or answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.filters import AutoFunctionInvocationContext, FilterTypes
from semantic_kernel.functions import (
    KernelFunctionFromMethod,
    KernelFunctionMetadata,
    KernelParameterMetadata,
    KernelPlugin,
    kernel_function,
)

#: The framework's own names: they are part of its requests.
PLUGIN: Final = "Handoff"


@dataclass
class Decision:
    """What the agent decided: the last call of a turn counts. `summary` is set when the task is complete."""

    hand_to: str | None = None
    summary: str | None = None

    async def transfer(self, name: str) -> None:
        self.hand_to = name

    @kernel_function(
        name="complete_task", description="Complete the task with a summary when no further requests are given."
    )
    async def complete(self, task_summary: str) -> None:
        self.summary = task_summary


def offer_handoffs(agent: ChatCompletionAgent, targets: dict[str, str]) -> Decision:
    """Gives an agent the functions of its handoffs (names with descriptions); calling one of them ends its turn."""
    decision = Decision()
    functions = [_transfer(decision, name, description) for name, description in targets.items()]
    functions.append(KernelFunctionFromMethod(decision.complete, plugin_name=PLUGIN))
    kernel: Kernel = agent.kernel
    kernel.add_plugin(plugin=KernelPlugin(name=PLUGIN, functions=functions))
    kernel.add_filter(FilterTypes.AUTO_FUNCTION_INVOCATION, _end_of_turn)
    return decision


async def _end_of_turn(
    context: AutoFunctionInvocationContext,
    # The framework passes it by this name.
    next: Callable[[AutoFunctionInvocationContext], Awaitable[None]],
) -> None:
    await next(context)
    if context.function.plugin_name == PLUGIN:
        context.terminate = True


def _transfer(decision: Decision, name: str, description: str) -> KernelFunctionFromMethod:
    metadata = KernelFunctionMetadata(
        name=f"transfer_to_{name}",
        description=description,
        parameters=[],
        return_parameter=KernelParameterMetadata(
            name="return", description="", default_value=None, type_="None", type_object=None, is_required=False
        ),
        is_prompt=False,
        is_asynchronous=True,
        plugin_name=PLUGIN,
        additional_properties={},
    )
    # As the framework builds them: a function without a signature to read.
    return KernelFunctionFromMethod.model_construct(metadata=metadata, method=partial(decision.transfer, name))
