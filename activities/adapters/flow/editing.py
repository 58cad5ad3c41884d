"""Edits of a flow and of the wrapper of one of its nodes. Pure; what is given stays as it is.

Names of prompts and models are those of `places.py`; under the name of a step, the prompt is its `task`, where it has one. Values are those of the wrapper (`FlowDefinition.values`), also
as `step.name`. What concerns another node changes nothing in this one's wrapper.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from activities import templates
from activities.adapters.base import BadDefinition, Edit, JsonObject
from activities.adapters.flow.agents import half_of, inner_definition, is_the_runs
from activities.adapters.flow.contracts import own_names
from activities.adapters.flow.inner_edits import InnerEdit, Prompt, apply_inner, config_of
from activities.adapters.flow.paths import NothingThere, lookup
from activities.adapters.flow.places import NoSuchPlace, Place, find, main_prompt, used_agents
from activities.adapters.flow.planning import graph_of, used_names
from activities.adapters.flow.reading import Agent, FlowStep, did_you_mean, read_flow
from activities.adapters.flow.starting import made_names, task_text
from activities.adapters.registry import definition_for
from omium_core.errors import Problem

#: The texts of a lone agent and of its step that can be edited.
_AGENT_TEXTS: Final = ("goal", "role", "backstory")
_STEP_TEXTS: Final = ("task", "expected_output")


@dataclass
class Edited:
    """What came of an edit: `problems` has what does not fit, `concerned` the names in `values` that are this wrapper's."""

    definition: JsonObject
    wrapper: JsonObject
    problems: list[Problem]
    concerned: set[str]


def edited(definition: JsonObject, wrapper: JsonObject, edit: Edit) -> Edited:
    """A valid definition and a wrapper with an edit applied. With `node` None, the wrapper is that of no node."""
    editor = _Editor(definition, wrapper)
    editor.prompts(edit.prompts)
    editor.models(edit.models)
    editor.inputs(edit.inputs)
    concerned = editor.values(edit.values)
    editor.inside()
    return Edited(editor.definition, editor.wrapper, editor.problems, concerned)


def problems_of(definition: JsonObject, edit: Edit, wrappers: Iterable[JsonObject]) -> list[Problem]:
    """What is wrong with an edit for all of these wrappers together: what one of them refuses, and values that none has."""
    states = list(wrappers)
    results = [edited(definition, wrapper, edit) for wrapper in states or [{"node": None}]]
    problems = dict.fromkeys(problem for result in results for problem in result.problems)
    concerned = {name for result in results for name in result.concerned}
    known = [name for wrapper in states for name in value_names(wrapper)]
    told = {problem.path for problem in problems}
    for name in edit.values if states else ():
        if name not in concerned and f"values.{name}" not in told:
            problems[Problem(f"values.{name}", f"There is no value {name!r}{did_you_mean(name, known)}")] = None
    return list(problems)


def value_names(wrapper: JsonObject) -> list[str]:
    """The values of a wrapper that an edit may set."""
    if wrapper.get("outputs") is not None:
        return list(wrapper["outputs"])
    state = wrapper.get("state")
    values = {} if state is None else definition_for(wrapper["framework"]).values(state)
    return [*values, *wrapper.get("inputs", ())]


class _Editor:
    def __init__(self, definition: JsonObject, wrapper: JsonObject) -> None:
        self.definition, self.wrapper = copy.deepcopy(definition), copy.deepcopy(wrapper)
        self.problems: list[Problem] = []
        self._flow = read_flow(definition).flow
        self._step = self._flow.steps.get(wrapper["node"]) if wrapper["node"] is not None else None
        self._inner: dict[str, InnerEdit] = {}

    def _problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _of(self, agent: Agent) -> InnerEdit:
        return self._inner.setdefault(agent.id, InnerEdit())

    # Prompts and models

    def prompts(self, prompts: Mapping[str, Prompt]) -> None:
        for name, prompt in prompts.items():
            path = f"prompts.{name}"
            place = self._place(name, path)
            if place is None:
                continue
            if place.agent.is_lone:
                self._lone_prompt(place, prompt, path)
            elif place.inner is None and place.step is not None and place.step.task is not None:
                self._texts({place.step.index: self._body(place.step)}, ("task",), prompt, path)
            else:
                inner = place.inner or self._main_prompt(place.agent, path)
                if inner is not None:
                    self._of(place.agent).prompts[inner] = prompt
                    self._of(place.agent).names["prompts", inner] = name

    def _lone_prompt(self, place: Place, prompt: Prompt, path: str) -> None:
        steps = [s for s in self._flow.steps.values() if s.part.agent == place.agent.id and place.step in (None, s)]
        bodies = {step.index: self._body(step) for step in steps}
        if not isinstance(prompt, Mapping):
            self._texts(bodies, _STEP_TEXTS, prompt, path)
            return
        # CrewAI's own name of a task's text
        texts = {"task" if key == "description" else key: text for key, text in prompt.items()}
        of_agent = {key: text for key, text in texts.items() if key in _AGENT_TEXTS}
        of_step = {key: text for key, text in texts.items() if key not in _AGENT_TEXTS}
        self._texts({0: config_of(self.definition, place.agent)}, _AGENT_TEXTS, of_agent, path)
        self._texts(bodies, (*_STEP_TEXTS, *_AGENT_TEXTS), of_step, path)

    def _texts(self, bodies: Mapping[int, JsonObject], known: tuple[str, ...], prompt: Prompt, path: str) -> None:
        named = isinstance(prompt, Mapping)
        for key, text in (prompt if isinstance(prompt, Mapping) else {known[0]: prompt}).items():
            where = f"{path}.{key}" if named else path
            if key not in known:
                self._problem(where, f"There is no text {key!r} to edit, only: {', '.join(known)}.")
            elif not isinstance(text, str) or not text:
                self._problem(where, "Must be a text.")
            elif key == "task" and (wrong := templates.check(text)):
                self._problem(where, wrong)
            else:
                for body in bodies.values():
                    body[key] = text

    def _place(self, name: str, path: str) -> Place | None:
        try:
            return find(self._flow, name)
        except NoSuchPlace as error:
            self._problem(path, str(error))
            return None

    def _main_prompt(self, agent: Agent, path: str) -> str | None:
        try:
            return main_prompt(agent, self._inner_definition(agent))
        except NoSuchPlace as error:
            self._problem(path, str(error))
            return None

    def models(self, models: Mapping[str, str]) -> None:
        for name, model in models.items():
            path = f"models.{name}"
            if name == "*":
                for agent in used_agents(self._flow):
                    self._set_model(agent, "*", model, name)
            elif (place := self._place(name, path)) is not None:
                self._set_model(place.agent, place.inner or "*", model, name)

    def _set_model(self, agent: Agent, inner: str, model: str, name: str) -> None:
        # an agent that is named keeps its model, whatever all others get
        if inner not in self._of(agent).models or name != "*":
            self._of(agent).models[inner] = model
            self._of(agent).names["models", inner] = name

    # Inputs and values

    def inputs(self, inputs: JsonObject) -> None:
        """Lays new inputs of the run over what the node was given of them."""
        known = {name for step in self._flow.steps.values() for name, _ in used_names(step)}
        known |= {s.parts[1] for step in self._flow.steps.values() for s in step.sources or () if _of_run(s.parts)}
        takes_all = any(step.sources is None for step in self._flow.steps.values())
        for name, value in inputs.items():
            if name not in known and not takes_all:
                self._problem(f"inputs.{name}", f"No step uses this input{did_you_mean(name, known)}")
            elif self._step is not None and self.wrapper["outputs"] is None:
                for target, given in self._given(self._step, name, value):
                    self._give(target, given, ("inputs", name))

    def _given(self, step: FlowStep, name: str, value: Any) -> Iterator[tuple[str, Any]]:
        """What an input of the run becomes for a step: pairs of name and value."""
        made = made_names(self._flow, graph_of(self._flow), step)
        if step.sources is None:
            yield from [(name, value)] if name not in made else []
            return
        for source in step.sources:
            is_it = source.parts[:1] == (name,) and name not in made
            if is_it or source.parts[:2] == ("inputs", name):
                try:
                    yield source.target, lookup({name: value}, source.parts[0 if is_it else 1 :])
                except NothingThere as nothing:
                    self._problem(f"inputs.{name}", f"Step {step.id!r} needs {nothing.place!r}, which is not there.")

    def _give(self, target: str, value: Any, named: tuple[str, str]) -> None:
        assert self._step is not None
        inner = self._of(self._flow.agents[self._step.part.agent])
        self.wrapper["inputs"] = {**self.wrapper["inputs"], target: value}
        inner.inputs[target] = value
        inner.names["inputs", target] = f"{named[0]}.{named[1]}"

    def values(self, values: JsonObject) -> set[str]:
        """Sets those values that are this wrapper's; the names that are."""
        concerned: set[str] = set()
        if self._step is None:
            return concerned
        own = value_names(self.wrapper)
        for name, value in values.items():
            bare = self._unqualified(name, own)
            if bare is None:
                continue
            concerned.add(name)
            self._set_value(bare, value, name)
        if len(self._flow.steps) == 1:
            for name in values.keys() - concerned:
                self._problem(f"values.{name}", f"There is no value {name!r}{did_you_mean(name, own)}")
        return concerned

    def _unqualified(self, name: str, own: list[str]) -> str | None:
        if name in own:
            return name
        assert self._step is not None
        for prefix in own_names(self._flow, self._step):
            bare = name.removeprefix(f"{prefix}.")
            if bare != name and bare in own:
                return bare
        return None

    def _set_value(self, bare: str, value: Any, name: str) -> None:
        assert self._step is not None
        if self.wrapper["outputs"] is not None:
            self.wrapper["outputs"] = {**self.wrapper["outputs"], bare: value}
            return
        agent = self._flow.agents[self._step.part.agent]
        state = self.wrapper["state"]
        if state is not None and bare in half_of(agent).values(state):
            self._of(agent).values[bare] = value
            self._of(agent).names["values", bare] = name
        else:
            self._give(bare, value, ("values", name))

    # Inside of agents

    def inside(self) -> None:
        """Applies what concerns agents by the halves of their frameworks."""
        self._tell_task_anew()
        for agent in self._flow.agents.values():
            if agent.id in self._inner and not self.problems:
                self._apply(agent, self._inner[agent.id])

    def _tell_task_anew(self) -> None:
        """A task that was edited is told to the agent that has it already."""
        if self._step is None or self.wrapper["outputs"] is not None or "task" not in self.wrapper["inputs"]:
            return
        flow = read_flow(self.definition).flow
        step = flow.steps[self._step.id]
        if step.task == self._step.task:
            return
        given = {name: value for name, value in self.wrapper["inputs"].items() if name != "task"}
        try:
            self._give("task", task_text(flow.agents[step.part.agent], step, given, given), ("prompts", step.id))
        except BadDefinition as error:
            self._problem(f"prompts.{step.id}", str(error))

    def _apply(self, agent: Agent, change: InnerEdit) -> None:
        is_ours = self._step is not None and self._step.part.agent == agent.id
        state = self.wrapper["state"] if is_ours else None
        inner = self._inner_definition(agent)
        changed, after, problems = apply_inner(agent, inner, state, change)
        self.problems += problems
        if problems:
            return
        if state is not None:
            self.wrapper["state"] = after
        if change.prompts or change.models:
            config = config_of(self.definition, agent)
            kept = {key: value for key, value in config.items() if is_the_runs(key, value)}
            config.clear()
            config.update({**(changed["agents"][agent.id] if agent.is_lone else changed), **kept})

    def _inner_definition(self, agent: Agent) -> JsonObject:
        """What the agent runs, as it has been edited so far."""
        flow = read_flow(self.definition).flow
        mine = self._step is not None and self._step.part.agent == agent.id
        step = self._step if mine else next(s for s in flow.steps.values() if s.part.agent == agent.id)
        assert step is not None
        return copy.deepcopy(inner_definition(flow.agents[agent.id], step))

    def _body(self, step: FlowStep) -> dict[str, Any]:
        body: dict[str, Any] = self.definition["flow"][step.index]
        return body


def _of_run(parts: tuple[str, ...]) -> bool:
    return parts[:1] == ("inputs",) and len(parts) > 1
