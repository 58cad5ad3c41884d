"""Asks a model for an `llm` node: the messages, the rounds of tool calls, the answer read and checked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import openai
from jsonschema import Draft202012Validator
from openai.types.chat import ChatCompletionMessage

from activities.adapters.base import Json, JsonObject, StepContext, StepError, ToolSpec
from activities.adapters.langgraph.spec import LlmNode
from activities.adapters.langgraph.values import as_text, loads
from activities.adapters.model_clients import client_for, step_error


class BadAnswer(StepError):
    """The model answered something that cannot be used. A retry would be given the same answer from the journal."""

    failure_type = "validation_error"
    retryable = False


async def ask(node: LlmNode, context: StepContext, *, prompt: str, system: str | None, history: Sequence[Json]) -> Json:
    """The model's answer: text, or the value that the node's `output_schema` describes.

    Raises `ModelUnavailable`, `ModelRejected`, and `BadAnswer` for an answer that breaks the schema.
    """
    messages: list[JsonObject] = [{"role": "system", "content": system}] if system is not None else []
    messages += [*history, {"role": "user", "content": prompt}]
    request = _request(node, context)
    specs = context.tools.specs(node.tools) if node.tools else []
    if specs:
        request["tools"] = [_function(spec) for spec in specs]
    for rounds_left in range(node.max_tool_rounds if specs else 0, -1, -1):
        if specs and not rounds_left:
            request["tool_choice"] = "none"
        answer = await _complete(context, request, messages)
        if not answer.tool_calls or not rounds_left:
            return _read(node, answer)
        messages += [_said(answer), *await _call_tools(node, context, answer)]
    raise AssertionError("the last round returns")


def _request(node: LlmNode, context: StepContext) -> dict[str, Any]:
    request: dict[str, Any] = {"model": node.model or context.model.default_model}
    if node.temperature is not None:
        request["temperature"] = node.temperature
    if node.max_tokens is not None:
        request["max_tokens"] = node.max_tokens
    if node.output_schema is not None:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", node.id)[:64]
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": name, "schema": node.output_schema},
        }
    return request


def _function(spec: ToolSpec) -> JsonObject:
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}


async def _complete(context: StepContext, request: dict[str, Any], messages: list[JsonObject]) -> ChatCompletionMessage:
    try:
        completion = await client_for(context.model).chat.completions.create(
            **request,
            messages=messages,  # type: ignore[arg-type]
        )
    except openai.OpenAIError as error:
        known = step_error(error)
        raise known if known is not None else error from error
    if not completion.choices:
        raise BadAnswer("The model endpoint answered without a choice.")
    message: ChatCompletionMessage = completion.choices[0].message
    return message


def _said(answer: ChatCompletionMessage) -> JsonObject:
    return answer.model_dump(include={"role", "content", "tool_calls"}, exclude_none=True)


async def _call_tools(node: LlmNode, context: StepContext, answer: ChatCompletionMessage) -> list[JsonObject]:
    calls = [call for call in answer.tool_calls or () if call.type == "function"]
    results = await asyncio.gather(
        *(_call_tool(node, context, call.function.name, call.function.arguments) for call in calls)
    )
    return [
        {"role": "tool", "tool_call_id": call.id, "content": result}
        for call, result in zip(calls, results, strict=True)
    ]


async def _call_tool(node: LlmNode, context: StepContext, name: str, arguments: str) -> str:
    """A tool's result as text. What the model did wrong is an answer that it can learn from."""
    if name not in node.tools:
        return f"Error: there is no tool {name!r}; the tools are: {', '.join(node.tools)}."
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError as error:
        return f"Error: the arguments are not JSON: {error}"
    if not isinstance(parsed, dict):
        return "Error: the arguments must be a JSON object."
    context.progress(f"{node.id}: {name}")
    return as_text(await context.tools.call(name, parsed, errors_as_answers=True))


def _read(node: LlmNode, answer: ChatCompletionMessage) -> Json:
    """The answer's text or value. Errors do not repeat it: they are read in more places than answers."""
    text = answer.content or ""
    if answer.refusal:
        raise BadAnswer(f"The model refused to answer the node {node.id!r}.")
    if node.output_schema is None:
        return text
    try:
        value = loads(text)
    except ValueError:
        raise BadAnswer(f"The model's answer for the node {node.id!r} is not JSON.") from None
    broken = next(Draft202012Validator(node.output_schema).iter_errors(value), None)
    if broken is not None:
        rule = f"{broken.validator}: {json.dumps(broken.validator_value)[:200]}"
        raise BadAnswer(
            f"The model's answer for the node {node.id!r} breaks its output_schema at {broken.json_path} ({rule})."
        )
    return value
