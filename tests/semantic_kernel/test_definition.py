"""What the pure half accepts, however it is written, and what it refuses, with paths."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from activities import templates
from activities.adapters.base import Edit, JsonObject
from activities.adapters.semantic_kernel import handlebars, prompts
from activities.adapters.semantic_kernel.definition import DEFINITION
from activities.adapters.semantic_kernel.reading import read
from activities.adapters.semantic_kernel.schema import FunctionChoice
from omium_core.errors import InvalidInput
from tests.semantic_kernel.support import agent
from tests.support.effort import cpu_seconds

TOOLS = frozenset({"calculator"})
PAIR = [agent("a", "A"), agent("b", "B")]


def paths(definition: JsonObject) -> list[str]:
    return [problem.path for problem in DEFINITION.validate(definition, tools=TOOLS)]


def handing(handoffs: list[JsonObject]) -> JsonObject:
    return {"agents": PAIR, "orchestration": {"type": "handoff", "handoffs": handoffs}}


def chat(**fields: Any) -> JsonObject:
    return {"agents": PAIR, "orchestration": {"type": "group_chat", **fields}}


@pytest.mark.parametrize(
    ("definition", "steps"),
    [
        (agent("a", "A"), ("a",)),
        ({"name": "a", "instructions": "A"}, ("a",)),
        ({"agents": PAIR}, ("a", "b")),
        ({"agents": {"a": {"instructions": "A"}, "b": {}}, "orchestration": {"type": "sequential"}}, ("a", "b")),
        ({"agents": PAIR, "orchestration": {"type": "sequential", "members": ["b"]}}, ("b",)),
        ({"agents": PAIR, "orchestration": {"type": "sequential", "agents": ["b", "a"]}}, ("b", "a")),
        ({"agents": PAIR, "orchestration": "ConcurrentOrchestration"}, ("a + b",)),
        ({"agents": PAIR, "orchestration": "parallel"}, ("a + b",)),
        (chat(max_rounds=3), ("a", "b", "round 2 · a")),
        ({**chat(max_rounds=1), "orchestration": {"type": "group-chat", "max_rounds": 1}}, ("a",)),
        (chat(max_rounds=2, manager={"type": "round_robin"}, human=True), ("a", "human", "b", "round 2 · human")),
        (chat(max_rounds=2, manager="prompt"), ("turn 1",)),
        (chat(manager={"type": "RoundRobinGroupChatManager", "max_rounds": 1}, human="a"), ("a", "human")),
        ({"agents": [agent("a", "A", execution_settings={"default": {"temperature": 0}})]}, ("a",)),
        ({"agents": PAIR, "handoffs": {"a": ["b"]}}, ("a",)),
        ({"agents": PAIR, "orchestration": {"type": "handoff", "handoffs": {"b": {"a": "x"}}, "start": "b"}}, ("b",)),
        ({"agents": PAIR, "orchestration": "magentic"}, ("manager",)),
        ({"name": "f", "template": "Say {{$input}}"}, ("f",)),
        ({"functions": {"f": {"prompt": "Say"}, "g": {"template": "{{$f}}"}}}, ("f", "g")),
    ],
)
def test_many_ways_to_write_it(definition: JsonObject, steps: tuple[str, ...]) -> None:
    before = copy.deepcopy(definition)
    assert DEFINITION.validate(definition, tools=TOOLS) == []
    plan = DEFINITION.plan(definition, {})
    assert plan.steps == steps
    assert plan.agents
    assert definition == before


@pytest.mark.parametrize(
    ("path", "definition"),
    [
        ("agents", {}),
        ("agents", {"agents": []}),
        ("agents[0]", {"agents": ["a"]}),
        ("agents[0].name", {"agents": [{"instructions": "A"}]}),
        ("agents[0].name", {"agents": [agent("a b", "A")]}),
        ("agents[1].name", {"agents": [PAIR[0], PAIR[0]]}),
        ("agents.a.instruction", {"agents": {"a": {"instruction": "A"}}}),
        ("agents[0].plugins", {"agents": [agent("a", "A", plugins=[{"class": "os.system"}])]}),
        ("agents[0].tools[0]", {"agents": [agent("a", "A", tools=["calculate"])]}),
        ("agents[0].tools[0]", {"agents": [agent("a", "A", tools=[{"type": "code_interpreter"}])]}),
        ("agents[0].tools[0]", {"agents": [agent("a", "A", tools=["module:Class"])]}),
        ("agents[0].service", {"agents": [agent("a", "A", service={"url": "http://x"})]}),
        ("agents[0].model.options.temperature", {"agents": [agent("a", "A", model={"options": {"temperature": 3}})]}),
        ("agents[0].model.options.temprature", {"agents": [agent("a", "A", model={"options": {"temprature": 1}})]}),
        ("agents[0].instructions", {"agents": [agent("a", "{{$wrong-name}}")]}),
        ("agents[0].instructions", {"agents": [agent("a", "{{plugin.function}}")]}),
        ("agents[0].template_format", {"agents": [agent("a", "A", template={"format": "jinja2"})]}),
        ("agents", {"agents": [{"name": "h", "type": "human"}]}),
        ("agents[1].type", {"agents": [PAIR[0], {"name": "h", "type": "human"}], "orchestration": "concurrent"}),
        ("orchestation", {"agents": PAIR, "orchestation": "sequential"}),
        ("orchestration", {"agents": PAIR, "orchestration": 3}),
        ("orchestration.type", {"agents": PAIR, "orchestration": {"type": "circle"}}),
        ("orchestration.members[1]", {"agents": PAIR, "orchestration": {"type": "sequential", "members": ["a", "c"]}}),
        ("orchestration.max_rounds", chat(max_rounds=0)),
        ("orchestration.max_round", chat(max_round=1)),
        ("orchestration.human[0]", chat(human=["c"])),
        ("orchestration.manager", chat(manager={"selection_prompt": "x"})),
        ("orchestration.manager.type", chat(manager="python")),
        ("orchestration.handoffs", {"agents": PAIR, "orchestration": "handoff"}),
        ("orchestration.start", {"agents": PAIR, "orchestration": {"type": "handoff", "handoffs": {"a": "b"}, "start": "c"}}),
        ("orchestration.handoffs[0].to", handing([{"from": "a", "to": "a"}])),
        ("orchestration.handoffs[0].from", handing([{"from": "c", "to": "a"}])),
        ("orchestration.max_turns", {"agents": PAIR, "orchestration": {**handing([{"from": "a", "to": "b"}])["orchestration"], "max_turns": 0}}),
        ("handoffs", {**handing([{"from": "a", "to": "b"}]), "handoffs": [{"from": "b", "to": "a"}]}),
        ("functions[0].template", {"functions": [{"name": "f", "template": "{{#each x}}", "template_format": "handlebars"}]}),
        ("functions[0].template", {"functions": [{"name": "f", "template": "{% if %}", "template_format": "liquid"}]}),
        ("functions[0].template", {"functions": [{"name": "f", "template": "{{calculator x='a b'}}", "tools": ["calculator"]}]}),
        ("functions[0].template_format", {"functions": [{"name": "f", "template": "x", "template_format": "jinja2"}]}),
        ("functions[0].name", {"functions": [{"name": "a-b", "template": "x"}]}),
        ("functions[1].name", {"functions": [{"name": "f", "template": "x"}] * 2}),
        ("functions[0].execution_settings", {"functions": [{"name": "f", "template": "x", "execution_settings": "fast"}]}),
        ("functions", {"agents": PAIR, "functions": [{"name": "f", "template": "x"}]}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_path(path: str, definition: JsonObject) -> None:
    before = copy.deepcopy(definition)
    assert paths(definition) == [path]
    assert definition == before


def test_a_handoff_orchestration_without_handoffs() -> None:
    [problem] = DEFINITION.validate({"agents": PAIR, "orchestration": "handoff"}, tools=TOOLS)
    assert (problem.path, problem.message) == ("orchestration.handoffs", "This field is required.")


def test_settings_of_another_program_are_no_model() -> None:
    choice = {"type": "required"}
    model = {"id": "${OpenAI:ChatModelId}", "options": {"temperature": 0.5, "function_choice_behavior": choice}}
    definition = agent("a", "A", type="chat_completion_agent", model=model, tools=["calculator"])
    assert DEFINITION.validate(definition, tools=TOOLS) == []
    [warning] = DEFINITION.plan(definition, {}).warnings
    assert warning.startswith("model.id: ${OpenAI:ChatModelId} ")
    fields = read(definition).spec.agents["a"].fields
    assert (fields.chosen_model.id, fields.chosen_model.options.temperature) == (None, 0.5)
    assert isinstance(fields.function_choice_behavior, FunctionChoice)
    assert fields.function_choice_behavior.type == "required"


@pytest.mark.parametrize("kind", ["openai_assistant", "azure_assistant", "bedrock", "copilot_studio", "os.system"])
def test_agents_of_other_services_are_refused(kind: str) -> None:
    [problem] = DEFINITION.validate({"agents": [{**agent("a", "A"), "type": kind}]}, tools=TOOLS)
    assert problem.path == "agents[0].type"
    assert "chat_completion_agent" in problem.message


def test_a_close_name_is_offered() -> None:
    [problem] = DEFINITION.validate({"agents": [agent("a", "A", tools=["calculatr"])]}, tools=TOOLS)
    assert "did you mean 'calculator'?" in problem.message


@pytest.mark.parametrize(
    "tool",
    ["calculator", {"id": "calculator", "type": "function"}, {"name": "calculator"}, {"id": "Math.calculator"},
     {"type": "function", "function": {"name": "calculator"}}],
)  # fmt: skip
def test_ways_to_name_a_tool(tool: Any) -> None:
    definition = {"agents": [agent("a", "A", tools=[tool])]}
    assert paths(definition) == []
    assert not DEFINITION.needs_worker(definition, tools=TOOLS)
    assert DEFINITION.needs_worker(definition, tools=frozenset())


def test_what_is_left_out_is_told() -> None:
    definition = {
        "agents": [agent("a", "A", model={"id": "m", "connection": {"service_id": "azure"}})],
        "orchestration": "group_chat",
    }
    assert paths(definition) == []
    warnings = DEFINITION.plan(definition, {}).warnings
    assert any("agents[0].model.connection" in warning for warning in warnings)
    assert any("max_rounds" in warning for warning in warnings)
    assert any("Magentic" in w for w in DEFINITION.plan({"agents": PAIR, "orchestration": "magentic"}, {}).warnings)


def test_inputs_that_templates_need() -> None:
    given = {"needed": {"required": True}, "known": {"default": "x"}, "free": {}}
    definition: JsonObject = {"agents": [agent("a", "{{$topic}} {{$known}} {{$free}}", inputs=given)]}
    assert [p.path for p in DEFINITION.validate_inputs(definition, {})] == ["needed", "topic"]
    assert DEFINITION.validate_inputs(definition, {"needed": 1, "topic": 2}) == []
    functions: JsonObject = {
        "functions": [
            {"name": "f", "template": "{{$a}} {{$input}}", "input_variables": [{"name": "a", "default": "1"}]},
            {"name": "g", "template": "{{f}} {{b}} {{#each c}}{{x}}{{/each}}", "template_format": "handlebars"},
            {"name": "h", "template": "{{ g }} {{ d }}", "template_format": "liquid"},
        ]
    }
    assert paths(functions) == []
    assert [p.path for p in DEFINITION.validate_inputs(functions, {})] == ["b", "c", "d"]
    assert [p.path for p in DEFINITION.validate_inputs(functions, {"b": 1, "c": [], "d": 1, "f": 1})] == ["f"]


def test_all_that_is_understood_as_documented_fits_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(DEFINITION.json_schema())
    for definition in (
        agent("a", "A"),
        {"agents": PAIR, "orchestration": "concurrent"},
        chat(human=["a"], manager="prompt"),
    ):
        validator.validate(definition)
    wrong_ones: list[JsonObject] = [{}, {"agents": []}, {"agents": [{"name": "a b"}]}]
    for wrong in [*wrong_ones, {"agents": PAIR, "orchestration": "circle"}]:
        assert not validator.is_valid(wrong)


def test_names_of_units() -> None:
    assert DEFINITION.unit_names(chat(human=True)) == {"a", "b", "human"}
    assert DEFINITION.unit_names({"agents": PAIR, "orchestration": "magentic"}) == {"a", "b", "manager"}
    assert DEFINITION.unit_names({"agents": [*PAIR, {"name": "boss", "type": "user"}]}) == {"a", "b", "boss"}


def test_edits_go_where_the_definition_keeps_it() -> None:
    state: JsonObject = {
        "format": "",
        "inputs": {},
        "messages": [],
        "next": [],
        "turns": {},
        "spoken": 0,
        "results": {},
    }
    single, _ = DEFINITION.edit(agent("a", "A"), state, Edit(prompts={"a": "New"}, models={"*": "m"}))
    assert single == agent("a", "New", model="m")
    kept = {"functions": {"f": {"prompt": "Old", "execution_settings": {"s": {"model_id": "x", "seed": 1}}}}}
    edited, _ = DEFINITION.edit(kept, state, Edit(prompts={"f": "New"}, models={"f": "y"}))
    assert edited == {"functions": {"f": {"prompt": "New", "model": {"id": "y", "options": {"seed": 1}}}}}
    assert paths(edited) == []
    led, _ = DEFINITION.edit(chat(manager="prompt"), state, Edit(prompts={"manager": "Lead"}))
    assert led["orchestration"]["manager"] == {"type": "prompt", "selection_prompt": "Lead"}


def test_edits_that_do_not_fit() -> None:
    edit = Edit(prompts={"a": {"role": "x"}, "c": "x"}, models={"b": ""}, values={"a": "x", "messages": [], "last": 3})
    state: JsonObject = {"inputs": {}, "messages": [{"role": "user", "content": "Go"}], "results": {}}
    with pytest.raises(InvalidInput) as refused:
        DEFINITION.edit({"agents": PAIR}, state, edit)
    assert [p.path for p in refused.value.problems] == [
        "prompts.a.role", "prompts.c", "models.b", "values.a", "values.messages", "values.last",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "data", "text"),
    [
        ("{{name}} {{{name}}} {{& name}}", {"name": "a<b"}, "a<b a<b a<b"),
        ("{{#if a}}yes{{else}}no{{/if}}", {"a": []}, "no"),
        ("{{#if a}}yes{{else}}no{{/if}}", {"a": 0}, "no"),
        ("{{#if a}}yes{{^}}no{{/if}}", {"a": "x"}, "yes"),
        ("{{#unless a.b}}no{{/unless}}", {"a": {"b": ""}}, "no"),
        ("{{#each l}}{{@index}}{{this}}{{#unless @last}},{{/unless}}{{/each}}", {"l": ["a", "b"]}, "0a,1b"),
        ("{{#each l}}{{name}}{{../t}}{{@root.t}}{{#each in}}{{.}}{{../name}}{{/each}} {{/each}}",
         {"l": [{"name": "x", "in": [1, 2]}], "t": "T"}, "xTT1x2x "),
        ("{{#with a}}{{b}}{{/with}}{{! no }}{{!-- {{no}} --}}", {"a": {"b": "c"}}, "c"),
        ("{% raw %} {{l.1}} }} %}", {"l": ["a", "b"]}, "{% raw %} b }} %}"),
    ],
)  # fmt: skip
def test_handlebars(source: str, data: JsonObject, text: str) -> None:
    assert prompts.look(source, "handlebars").problem is None
    assert prompts.render(source, "handlebars", data) == text


@pytest.mark.parametrize(
    "source",
    ["{{#if a}}", "{{/if}}", "{{else}}", "{{#list a}}{{/list}}", "{{f a}}", "{{a.[b']}}", "{{@index}}", "{{> partial}}",
     "{{['+__import__(\"os\").getcwd()+']}}", "{{#each a as |b|}}{{/each}}", "{{a b=c}}"],
)  # fmt: skip
def test_handlebars_that_are_refused(source: str) -> None:
    with pytest.raises(handlebars.HandlebarsError):
        handlebars.to_liquid(source)
    assert prompts.look(source, "handlebars").problem


def test_templates_reach_data_alone() -> None:
    for path in ("a.__class__", "a.format", "this.__init__.__globals__", "a.upper"):
        assert prompts.render(f"<{{{{{path}}}}}>", "handlebars", {"a": "{0.__class__}"}) == "<>"
    with pytest.raises(templates.TemplateError):
        prompts.render("{{#each a}}{{#each ../a}}x{{/each}}{{/each}}", "handlebars", {"a": [1] * 2000})


@pytest.mark.parametrize("form", ["semantic-kernel", "handlebars", "liquid"])
@pytest.mark.parametrize(
    "unit",
    ["{{", "{{'", "{{{", "{{!--", "{{a}", "}}", "{{a}}'", '{{f "', "{%", "{{#if a}}", "{{f a=", "\\", "{{f aaaaaaaaaa"],
)
def test_templates_are_read_in_one_pass(unit: str, form: str) -> None:
    """However a template is made, reading it takes no longer than its length: eight times as long, not sixty-four."""

    def took(length: int) -> float:
        def look() -> None:
            prompts.look(unit * (length // len(unit)), form)
            prompts.look("{{f " + "a" * length + "}}", form)

        return cpu_seconds(look)

    assert took(90_000) < 24 * took(11_250) + 0.5


@pytest.mark.parametrize(
    ("source", "variables", "functions"),
    [
        ("{{$a}} {{ $b }} {{'$c'}} {{\"}}\"}} {{}} { {$d} }", {"a", "b"}, set()),
        ("{{tool}} {{p.tool2 $a}} {{tool3 'x' b=$b c='d'}}", {"a", "b"}, {"tool", "tool2", "tool3"}),
        ("no tags, {\"json\": {\"a\": {}}}", set(), set()),
    ],
)  # fmt: skip
def test_the_frameworks_own_templates(source: str, variables: set[str], functions: set[str]) -> None:
    template = prompts.look(source, "semantic-kernel")
    assert template.problem is None
    assert template.variables == variables
    assert template.functions == functions
