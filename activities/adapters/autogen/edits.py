"""Changes that a person or a policy makes to a team and its state before it goes on. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from activities.adapters.autogen.components import Notes, check_template, did_you_mean
from activities.adapters.autogen.reading import Reading
from activities.adapters.autogen.schema import SELECTOR_FIELDS
from activities.adapters.autogen.spec import TeamSpec
from activities.adapters.autogen.states import TeamState, as_text, is_chat, shown, task_of, text_message
from activities.adapters.base import Edit, Json, JsonObject
from omium_core.errors import InvalidInput, Problem


def apply_edit(reading: Reading, definition: JsonObject, state: TeamState, edit: Edit) -> tuple[JsonObject, TeamState]:
    """A new definition and a new state. Raises `InvalidInput` with paths from the root of the edit."""
    assert reading.team is not None
    changed = copy.deepcopy(definition)
    editor = _Editor(reading.team, changed, reading.keys)
    for name, prompt in edit.prompts.items():
        editor.prompt(name, prompt)
    for name, model in edit.models.items():
        editor.model(name, model)
    after = editor.values(editor.inputs(state, edit.inputs), edit.values)
    if editor.problems:
        raise InvalidInput("The edit does not fit this team.", editor.problems)
    return changed, after


class _Editor:
    def __init__(self, team: TeamSpec, definition: JsonObject, keys: Sequence[str | int]) -> None:
        self._team = team
        self.problems: list[Problem] = []
        root: Any = definition
        for key in keys:
            root = root[key]
        self._team_config = _config(root)
        self._configs: dict[str, dict[str, Any]] = {}
        if team.is_single:
            self._configs[team.name] = self._team_config
        else:
            agents = zip(team.names, self._team_config["participants"], strict=True)
            self._configs |= {name: _config(participant) for name, participant in agents}

    def _problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    # Prompts and models

    def _fields_of(self, name: str) -> tuple[str, ...] | None:
        """The texts that can be changed under a name, the one that matters most first."""
        agent = self._team.agent(name)
        if agent is not None:
            return ("description",) if agent.is_person else ("system_message", "description")
        if name == self._team.name:
            return {
                "SelectorGroupChat": ("selector_prompt",),
                "MagenticOneGroupChat": ("final_answer_prompt",),
            }.get(self._team.kind)
        return None

    def prompt(self, name: str, prompt: str | Mapping[str, str]) -> None:
        path, fields = f"prompts.{name}", self._fields_of(name)
        if fields is None:
            self._unknown(path, name, lambda one: self._fields_of(one) is not None)
            return
        config = self._configs.get(name, self._team_config)
        texts = {fields[0]: prompt} if isinstance(prompt, str) else prompt
        if not isinstance(texts, Mapping) or not texts:
            self._problem(path, "This must be a text, or an object of texts.")
            return
        for field, text in texts.items():
            if field not in fields:
                message = f"Unknown field{did_you_mean(str(field), fields)} Known are: {', '.join(fields)}."
                self._problem(f"{path}.{field}", message)
            elif not isinstance(text, str):
                self._problem(f"{path}.{field}", "This must be a text.")
            else:
                self._check(field, text, path if isinstance(prompt, str) else f"{path}.{field}")
                config[field] = text

    def _check(self, field: str, text: str, path: str) -> None:
        if field == "selector_prompt":
            notes = Notes()
            check_template(text, sorted(SELECTOR_FIELDS), path, notes)
            self.problems += notes.problems

    def _has_model(self, name: str) -> bool:
        agent = self._team.agent(name)
        return not agent.is_person if agent else name == self._team.name and self._team.model is not None

    def model(self, name: str, model: str) -> None:
        path = f"models.{name}"
        if not isinstance(model, str) or not model:
            self._problem(path, "This must be the name of a model.")
        elif name == "*":
            for one in {*self._team.names, self._team.name}:
                if self._has_model(one):
                    self._set_model(one, model)
        elif self._has_model(name):
            self._set_model(name, model)
        else:
            self._unknown(path, name, self._has_model)

    def _set_model(self, name: str, model: str) -> None:
        owner = self._configs.get(name, self._team_config)
        client = owner.get("model_client")
        if not isinstance(client, dict):
            client = owner["model_client"] = {"provider": "OpenAIChatCompletionClient", "config": {}}
        _config(client)["model"] = model

    def _unknown(self, path: str, name: str, fits: Callable[[str], bool]) -> None:
        known = [one for one in (*self._team.names, self._team.name) if fits(one)]
        hint = did_you_mean(str(name), known)
        self._problem(path, f"There is nothing of this name to change{hint} Known are: {', '.join(known)}.")

    # Inputs and messages

    def inputs(self, state: TeamState, inputs: JsonObject) -> TeamState:
        """With other inputs; the first message follows them, also where agents remember it."""
        if not inputs:
            return state
        merged = {**state.inputs, **inputs}
        messages = state.messages
        if messages and messages[0]["content"] == task_of(state.inputs):
            messages[0] = {**messages[0], "content": task_of(merged)}
            state = self._told(state, messages)
        return replace(state, inputs=merged)

    def values(self, state: TeamState, values: JsonObject) -> TeamState:
        """With another conversation: the only part of a state that can be set; the other values follow from it."""
        for name in values:
            if name != "messages":
                message = "Only `messages` can be set: a list of objects with `source` and `content`."
                self._problem(f"values.{name}", message)
        if "messages" not in values or self.problems:
            return state
        messages = self._messages(values["messages"], state.messages)
        return state if self.problems else self._told(state, messages)

    def _messages(self, given: Json, before: list[JsonObject]) -> list[JsonObject]:
        if not isinstance(given, list):
            self._problem("values.messages", "This must be a list of messages.")
            return []
        messages = []
        for index, item in enumerate(given):
            path = f"values.messages[{index}]"
            if not isinstance(item, Mapping) or not isinstance(item.get("source"), str) or not item["source"]:
                self._problem(path, "A message needs a `source`, the name of who said it, and a `content`.")
            elif index < len(before) and dict(item) == before[index]:
                messages.append(before[index])
            elif not isinstance(item.get("content"), str):
                self._problem(f"{path}.content", "This must be a text.")
            elif item.get("type", "TextMessage") == "HandoffMessage":
                target = item.get("target")
                if target not in self._team.names:
                    self._problem(f"{path}.target", f"There is no agent {target!r} to hand over to.")
                messages.append({**text_message(item["source"], item["content"]), "type": "HandoffMessage"})
                messages[-1]["target"] = target
            else:
                messages.append(text_message(item["source"], item["content"]))
        return messages

    def _told(self, state: TeamState, messages: list[JsonObject]) -> TeamState:
        """A state in which this was said: new words in place where only words differ, else a conversation told anew."""
        before = state.messages
        if messages == before:
            return state
        fresh = not state.agents and not state.thread
        if fresh:
            return replace(state, pending=messages)
        if messages[: len(before)] == before:
            return replace(state, pending=[*state.pending, *messages[len(before) :]])
        if [one["source"] for one in messages] == [one["source"] for one in before]:
            return _reworded(state, before, messages)
        return _retold(self._team, state, messages)


def _config(component: dict[str, Any]) -> dict[str, Any]:
    """A component's fields; in the first exports of AutoGen Studio they stand in the component itself."""
    config: dict[str, Any] = component.setdefault("config", {}) if "provider" in component else component
    return config


def _reworded(state: TeamState, before: list[JsonObject], after: list[JsonObject]) -> TeamState:
    """Other words for the same messages, in the conversation and in what each agent remembers of it."""
    old_chat = [message for message in (*state.thread, *state.pending) if is_chat(message)]
    new_of = {id(message): _with_words(message, new) for message, new in zip(old_chat, after, strict=True)}
    words = {
        (old["source"], as_text(old["content"])): as_text(new["content"])
        for old, new in zip(before, after, strict=True)
        if old != new
    }

    def reworded(memory: JsonObject) -> JsonObject:
        said = (memory.get("source"), as_text(memory.get("content", "")))
        return {**memory, "content": words[said]} if said in words else memory

    agents = {}
    for name, container in state.agents.items():
        inner = dict(container["agent_state"])
        if "llm_context" in inner:
            context = inner["llm_context"]
            inner["llm_context"] = {**context, "messages": [reworded(one) for one in context.get("messages", ())]}
        buffer = [reworded(one) for one in container["message_buffer"]]
        agents[name] = {**container, "agent_state": inner, "message_buffer": buffer}
    return replace(
        state,
        agents=agents,
        thread=[new_of.get(id(message), message) for message in state.thread],
        pending=[new_of.get(id(message), message) for message in state.pending],
    )


def _with_words(message: JsonObject, new: JsonObject) -> JsonObject:
    return message if shown(message) == new else {**message, **new}


def _retold(team: TeamSpec, state: TeamState, messages: list[JsonObject]) -> TeamState:
    """Another conversation: every agent knows its own words as said, and hears at its next turn what came after them."""
    chat = [message for message in (*state.thread, *state.pending) if is_chat(message)]
    # messages that stay as they were keep the fields that people do not see
    kept = [old for old, new in zip(chat, messages, strict=False) if shown(old) == new]
    messages = [*kept, *messages[len(kept) :]] if kept == chat[: len(kept)] else messages
    agents = {}
    for name, container in state.agents.items():
        own = [index for index, message in enumerate(messages) if message["source"] == name]
        heard = own[-1] + 1 if own else 0
        inner = dict(container["agent_state"])
        if "llm_context" in inner:
            remembered = [_remembered(message, name) for message in messages[:heard]]
            inner["llm_context"] = {**inner["llm_context"], "messages": remembered}
        agents[name] = {**container, "agent_state": inner, "message_buffer": messages[heard:]}
    since = min(state.since, max(len(messages) - 1, 0))
    asks = state.asks if messages and messages[-1].get("target") == state.asks else None
    return replace(state, agents=agents, thread=messages, pending=[], since=since, asks=asks)


def _remembered(message: JsonObject, agent: str) -> JsonObject:
    kind = "AssistantMessage" if message["source"] == agent else "UserMessage"
    return {"type": kind, "source": message["source"], "content": as_text(message["content"])}
