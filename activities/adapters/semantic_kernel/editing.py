"""Edits of a definition and a state: prompts, models, what was said, inputs. Pure; what is given stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from activities.adapters.base import Edit, Json, JsonObject
from activities.adapters.semantic_kernel import states
from activities.adapters.semantic_kernel.checks import check_spec
from activities.adapters.semantic_kernel.parts import Keys, did_you_mean
from activities.adapters.semantic_kernel.reading import Spec, as_model, read
from activities.adapters.semantic_kernel.schema import GroupChat, Magentic
from activities.adapters.semantic_kernel.turns import MANAGER, all_names
from omium_core.errors import InvalidInput, Problem

_AGENT_FIELDS: Final = ("instructions", "description")
_FUNCTION_FIELDS: Final = ("template", "description")
_MANAGER_FIELDS: Final = ("selection_prompt", "termination_prompt")
_ROLES: Final = ("user", "assistant", "system")


def apply_edit(definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
    """A definition and a state with an edit applied. Raises `InvalidInput` with paths from the root of the edit."""
    editor = _Editor(copy.deepcopy(definition), copy.deepcopy(state))
    for name, prompt in edit.prompts.items():
        editor.prompt(name, prompt)
    for name, model in edit.models.items():
        editor.model(name, model)
    for name, value in edit.values.items():
        editor.value(name, value)
    if edit.inputs:
        editor.inputs(edit.inputs)
    if editor.problems:
        raise InvalidInput("The edit does not fit the run.", editor.problems)
    return editor.definition, editor.state


class _Editor:
    def __init__(self, definition: JsonObject, state: JsonObject) -> None:
        self.definition, self.state = definition, state
        self.problems: list[Problem] = []
        self._spec: Spec = read(definition).spec

    def prompt(self, name: str, prompt: str | Mapping[str, str]) -> None:
        path = f"prompts.{name}"
        place, fields = self._place(name)
        if place is None:
            self._unknown(path, name)
            return
        changes = {fields[0]: prompt} if isinstance(prompt, str) else dict(prompt)
        for field, text in changes.items():
            if field not in fields:
                self._problem(f"{path}.{field}", f"There is no prompt {field!r}{did_you_mean(field, fields)}")
            elif not isinstance(text, str) or (not text and field != "description"):
                self._problem(f"{path}.{field}", "A prompt is a text.")
            else:
                _write(place, field, text)
        self._judge(path)

    def _judge(self, path: str) -> None:
        """What the edited definition has against the new prompt."""
        reading = read(self.definition)
        for problem in [*reading.problems, *check_spec(reading.spec, None)]:
            self._problem(path, problem.message)

    def model(self, name: str, model: str) -> None:
        path = f"models.{name}"
        if not isinstance(model, str) or not model:
            self._problem(path, "A model is named by a text.")
            return
        for one in [*self._spec.agents, *self._spec.functions, MANAGER] if name == "*" else [name]:
            place, _ = self._place(one)
            if place is not None:
                _choose(place, model)
            elif name != "*":
                self._unknown(path, name)

    def value(self, name: str, value: Json) -> None:
        path = f"values.{name}"
        if name == "messages":
            self._messages(path, value)
        elif not isinstance(value, str):
            self._problem(path, "What was said is a text.")
        elif name == "last":
            self._last(path, value, None)
        elif name in self.state["results"]:
            self.state["results"][name] = value
            self._last(path, value, name)
        elif name in all_names(self._spec):
            self._last(path, value, name)
        else:
            known = ("messages", "last", *sorted(all_names(self._spec)))
            self._problem(path, f"There is no value {name!r}{did_you_mean(name, known)}")

    def _last(self, path: str, text: str, name: str | None) -> None:
        """Rewrites the last message, or the last one of an agent or function."""
        for message in reversed(self.state["messages"]):
            if message.get("only") is None and name in (None, message.get("name")):
                message["content"] = text
                if message.get("name") in self.state["results"]:
                    self.state["results"][message["name"]] = text
                return
        self._problem(path, f"{name or 'Nobody'} has not said anything yet.")

    def _messages(self, path: str, value: Json) -> None:
        """Replaces the conversation. Tool calls that agents made for themselves stay before the first change."""
        before = self.state["messages"]
        given = (
            [self._message(f"{path}[{index}]", item) for index, item in enumerate(value)]
            if isinstance(value, list)
            else []
        )
        if not given or None in given:
            if not isinstance(value, list) or not value:
                self._problem(path, "Messages are a list of objects with `role` and `content`, the task first.")
            return
        kept: list[JsonObject] = []
        rest: list[Any] = list(given)
        for message in before:
            if message.get("only") is not None:
                kept.append(message)
            elif rest and states.public([message]) == states.public([rest[0]]):
                kept.append(message)
                rest.pop(0)
            else:
                break
        self.state["messages"] = kept + rest

    def _message(self, path: str, item: Json) -> JsonObject | None:
        role = item.get("role") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or role not in _ROLES or not isinstance(item.get("content"), str):
            self._problem(
                path, f"A message has a `role` ({', '.join(_ROLES)}), a text as `content`, and may have a `name`."
            )
            return None
        name = item.get("name")
        return {"role": role, **({"name": name} if isinstance(name, str) else {}), "content": item["content"]}

    def inputs(self, inputs: JsonObject) -> None:
        """Lays new inputs over the old ones; the task is told anew where it was made of them."""
        old, messages = self.state["inputs"], self.state["messages"]
        self.state["inputs"] = {**old, **inputs}
        if messages and messages[0].get("content") == states.task_of(old):
            messages[0]["content"] = states.task_of(self.state["inputs"])

    def _place(self, name: str) -> tuple[Any, tuple[str, ...]]:
        """The object in the definition that holds what an edit names, and its fields of text; None if there is none."""
        if name in self._spec.agents and not self._spec.agents[name].is_human:
            return _at(self.definition, self._spec.agents[name].keys), _AGENT_FIELDS
        if name in self._spec.functions:
            return _at(self.definition, self._spec.functions[name].keys), _FUNCTION_FIELDS
        kind = self._spec.orchestration
        if name == MANAGER and (
            isinstance(kind, Magentic) or (isinstance(kind, GroupChat) and kind.manager.type == "prompt")
        ):
            return self._manager(), _MANAGER_FIELDS if isinstance(kind, GroupChat) else ()
        return None, ()

    def _manager(self) -> Any:
        """The manager as an object that can be changed, however short it was written."""
        if not isinstance(self.definition["orchestration"], Mapping):
            self.definition["orchestration"] = {"type": self.definition["orchestration"]}
        orchestration = self.definition["orchestration"]
        if not isinstance(orchestration.get("manager"), Mapping):
            given = orchestration.get("manager")
            orchestration["manager"] = {"type": given} if given is not None else {}
        return orchestration["manager"]

    def _unknown(self, path: str, name: str) -> None:
        known: Iterable[str] = [*self._spec.agents, *self._spec.functions]
        self._problem(path, f"There is no agent or function {name!r} with a prompt{did_you_mean(name, known)}")

    def _problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))


def _at(definition: JsonObject, keys: Keys) -> Any:
    place: Any = definition
    for key in keys:
        place = place[key]
    return place


def _write(place: Any, field: str, text: str) -> None:
    """Sets a text where the definition keeps it: a template may stand in a nested object, or be called `prompt`."""
    if field == "template" and isinstance(place.get("prompt"), str) and "template" not in place:
        field = "prompt"
    place[field] = text


def _choose(place: Any, model: str) -> None:
    """Names another model and keeps the parameters, wherever the definition keeps them."""
    if isinstance(place.get("model"), Mapping):
        place["model"] = {**place["model"], "id": model}
        return
    settings = as_model(place.pop("execution_settings", None))
    place["model"] = model if settings is None else {**settings, "id": model}
