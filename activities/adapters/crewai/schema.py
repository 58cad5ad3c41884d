"""The shape of a crew as JSON, in CrewAI's own field names, and what is refused or left out of it.

Pure: no CrewAI here. The models hold the fields that have an effect; `REFUSED` holds the fields that would run code, reach
around the gateway or change results in ways a durable run cannot keep; `LEFT_OUT` holds those that are accepted and ignored.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from activities.adapters.base import JsonObject

_CODE: Final = "would run code, and code inside a definition is never executed; remove it"
_FILES: Final = "reads files of the machine it runs on, which a definition cannot do; remove it"
_OUTSIDE: Final = "reaches services past the gateway; give the agent registered tools instead"
_GATEWAY: Final = "is set by the operator: every model call goes through the platform's gateway; remove it"
_KNOWLEDGE: Final = "is not supported; put the text into a task's description or offer it through a tool"
_SKILLS: Final = "are not supported; put their text into the agent's backstory"

_MEMORY: Final = "memory is left out: a task sees the outputs of earlier tasks, and nothing is remembered between runs"
_RATE: Final = "max_rpm is left out: the platform limits and retries model calls"
_TOOL_MODEL: Final = "function_calling_llm is left out: the agent's own model calls the tools"
_REPORTS: Final = "tool_failure_policy is left out: a failed tool is always told to the agent as its answer"


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class LLMSpec(Part):
    """A model and its parameters. The name goes to the endpoint exactly as it is written."""

    model: str = Field(min_length=1)
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | str | None = None
    reasoning_effort: str | None = None
    response_format: JsonObject | None = None
    api: Literal["completions", "responses"] = "completions"


class PlanningSpec(Part):
    """How an agent plans before it works; the plan is made inside the task's step."""

    reasoning_effort: Literal["low", "medium", "high"] | None = None
    observe_steps: bool | None = None
    max_attempts: int | None = Field(default=None, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    max_replans: int | None = Field(default=None, ge=0)
    max_step_iterations: int | None = Field(default=None, ge=1)
    system_prompt: str | None = None
    plan_prompt: str | None = None
    refine_prompt: str | None = None


class AgentSpec(Part):
    """One agent; `{placeholders}` in role, goal and backstory are filled from the inputs."""

    role: str = Field(min_length=1)
    goal: str = Field(min_length=1)
    backstory: str
    llm: str | LLMSpec | None = None
    tools: list[str] | None = None
    allow_delegation: bool | None = None
    max_iter: int | None = Field(default=None, ge=1)
    max_execution_time: int | None = Field(default=None, ge=1)
    respect_context_window: bool | None = None
    use_system_prompt: bool | None = None
    system_template: str | None = None
    prompt_template: str | None = None
    response_template: str | None = None
    reasoning: bool | None = None
    max_reasoning_attempts: int | None = Field(default=None, ge=1)
    planning: bool | None = None
    planning_config: PlanningSpec | None = None
    type: Literal["agent", "Agent", "crewai.Agent", "crewai.agent.core.Agent"] | None = None


class TaskSpec(Part):
    """One task; `{placeholders}` in description and expected_output are filled from the inputs."""

    name: str | None = None
    description: str = Field(min_length=1)
    expected_output: str = Field(min_length=1)
    agent: str | None = None
    #: Names of earlier tasks. Left out, the task sees all earlier outputs; an empty list shows it none.
    context: list[str] | None = None
    async_execution: bool | None = None
    tools: list[str] | None = None
    markdown: bool | None = None
    #: Asks a person to approve, edit or reject the task's output before anything goes on.
    human_input: bool | None = None
    #: Sentences that a model checks the output against.
    guardrail: str | None = None
    guardrails: list[str] | str | None = None
    guardrail_max_retries: int | None = Field(default=None, ge=0)
    #: CrewAI's older name of `guardrail_max_retries`.
    max_retries: int | None = Field(default=None, ge=0)
    #: JSON Schemas of the answer.
    output_json: JsonObject | None = None
    output_pydantic: JsonObject | None = None
    response_model: JsonObject | None = None
    allow_crewai_trigger_context: bool | None = None
    type: Literal["task", "Task", "crewai.Task", "crewai.task.Task"] | None = None


class CrewFields(Part):
    """The fields of a crew beside its agents and tasks."""

    name: str | None = None
    process: Literal["sequential", "hierarchical"] = "sequential"
    manager_llm: str | LLMSpec | None = None
    manager_agent: str | None = None
    #: Values of placeholders where the run's inputs name none.
    inputs: dict[str, Any] | None = None


REFUSED: Final[dict[type[Part], dict[str, str]]] = {
    LLMSpec: dict.fromkeys(("base_url", "api_base", "api_key", "custom_openai", "client_params"), _GATEWAY),
    PlanningSpec: {"llm": "is not supported: the agent's own model plans"},
    AgentSpec: {
        **dict.fromkeys(
            (
                "allow_code_execution",
                "step_callback",
                "callbacks",
                "executor_class",
                "agent_executor",
                "config",
            ),
            _CODE,
        ),
        **dict.fromkeys(("mcps", "apps", "a2a", "from_repository"), _OUTSIDE),
        **dict.fromkeys(
            ("knowledge", "knowledge_sources", "knowledge_config", "knowledge_storage"),
            _KNOWLEDGE,
        ),
        "skills": _SKILLS,
    },
    TaskSpec: {
        **dict.fromkeys(("callback", "condition", "converter_cls", "config"), _CODE),
        "input_files": _FILES,
    },
    CrewFields: {
        **dict.fromkeys(
            (
                "step_callback",
                "task_callback",
                "before_kickoff_callbacks",
                "after_kickoff_callbacks",
                "config",
            ),
            _CODE,
        ),
        **dict.fromkeys(("prompt_file", "trained_agents_file"), _FILES),
        **dict.fromkeys(("knowledge", "knowledge_sources"), _KNOWLEDGE),
        "skills": _SKILLS,
        "planning": "of a whole crew is not supported; set planning on the agents that should plan",
    },
}

#: None where nobody misses the field, else what to tell the user.
LEFT_OUT: Final[dict[type[Part], dict[str, str | None]]] = {
    LLMSpec: dict.fromkeys(
        (
            "timeout",
            "max_retries",
            "stream",
            "provider",
            "is_litellm",
            "api_version",
            "llm_type",
        )
    ),
    PlanningSpec: {"step_timeout": None},
    AgentSpec: {
        **dict.fromkeys(
            (
                "verbose",
                "cache",
                "max_retry_limit",
                "code_execution_mode",
                "date_format",
                "security_config",
            )
        ),
        **dict.fromkeys(
            (
                "multimodal",
                "checkpoint",
                "use_better_compaction",
                "guardrail_max_retries",
                "max_tokens",
            )
        ),
        "memory": _MEMORY,
        "embedder": _MEMORY,
        "max_rpm": _RATE,
        "function_calling_llm": _TOOL_MODEL,
        "tool_failure_policy": _REPORTS,
        "inject_date": "inject_date is left out: a repeated step must ask the same; pass the date as an input",
        "guardrail": "guardrail of an agent is left out, as CrewAI applies it outside of crews only; set it on the task",
    },
    TaskSpec: {
        **dict.fromkeys(("create_directory", "security_config", "verbose")),
        "output_file": "output_file is left out: outputs are kept with the run, not in a file",
        "tool_failure_policy": _REPORTS,
    },
    CrewFields: {
        **dict.fromkeys(
            (
                "verbose",
                "cache",
                "tracing",
                "share_crew",
                "checkpoint",
                "security_config",
                "chat_llm",
            )
        ),
        **dict.fromkeys(("stream", "planning_llm", "full_output")),
        "memory": _MEMORY,
        "embedder": _MEMORY,
        "max_rpm": _RATE,
        "function_calling_llm": _TOOL_MODEL,
        "tool_failure_policy": _REPORTS,
        "output_log_file": "output_log_file is left out: the run's events are its log",
    },
}
