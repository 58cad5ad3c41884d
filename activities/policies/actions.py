"""What can be done about a failure, as users write it: in the rules of a policy, or when a person asks for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from activities.policies.parts import DAY, Millis, Name, Part, Seconds, Text, missing
from models.wire_recovery import ActionType, RecoveryAction

ACTION_TYPES: tuple[str, ...] = get_args(ActionType)

Times = Annotated[int, Field(ge=1, le=100, description="How often this action may be taken in one run.")]


def _target(value: Any) -> Any:
    """A checkpoint's number as a text, as `RecoveryAction` has it; 0 is the start."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return (str(value) if value else "start") if is_number else value


Target = Annotated[
    Name,
    BeforeValidator(_target, json_schema_input_type=Annotated[int, Field(ge=0)] | Name),
    Field(description="Where to: `last`, `start`, or the number or the name of a checkpoint."),
]


class _Automatic(Part):
    """What all actions have that are taken without a person."""

    times: Times = 1
    delay_seconds: Annotated[float, Field(ge=0, le=DAY, allow_inf_nan=False)] | None = None
    delay_ms: Annotated[float, Field(ge=0, le=DAY * 1000, allow_inf_nan=False)] | None = None
    backoff: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = 1.0
    max_delay_seconds: Seconds | None = None
    max_delay_ms: Millis | None = None

    @model_validator(mode="after")
    def _delay_is_clear(self) -> _Automatic:
        self.only_one("delay_seconds", "delay_ms")
        self.only_one("max_delay_seconds", "max_delay_ms")
        return self

    def common(self) -> dict[str, Any]:
        delay = self.duration("delay_seconds", "delay_ms") or 0.0
        longest = self.duration("max_delay_seconds", "max_delay_ms") or max(RecoveryAction.max_delay, delay)
        return {"times": self.times, "delay": delay, "backoff": self.backoff, "max_delay": longest}


class Retry(_Automatic):
    """Does the step again. With `redo` it asks the models anew; without, it keeps the answers it got."""

    type: Literal["retry"]
    redo: bool = False

    def action(self) -> RecoveryAction:
        return RecoveryAction("retry", redo=self.redo, **self.common())


class RetryFailedPart(_Automatic):
    """Does again only what failed in the step: what was answered is kept."""

    type: Literal["retry_failed_part"]

    def action(self) -> RecoveryAction:
        return RecoveryAction("retry_failed_part", **self.common())


class Rollback(_Automatic):
    """Rolls back to a checkpoint and goes on from there, with other prompts or models if these are given."""

    type: Literal["rollback"]
    to: Target = "last"
    steps_back: Annotated[int, Field(ge=0, le=1000)] = 0
    resume: bool = Field(default=True, description="Without it, the run waits for a person after the rollback.")
    prompts: Annotated[dict[Name, Text], Field(max_length=50)] = Field(default_factory=dict)
    append: bool = False
    models: Annotated[dict[Name, Name], Field(max_length=50)] = Field(default_factory=dict)

    def action(self) -> RecoveryAction:
        return RecoveryAction(
            "rollback",
            to=self.to,
            steps_back=self.steps_back,
            resume=self.resume,
            prompts=dict(self.prompts),
            append=self.append,
            models=dict(self.models),
            **self.common(),
        )


class PromptEdit(_Automatic):
    """Does the step again with other prompts: by the name of an agent, or of what failed."""

    type: Literal["prompt_edit"]
    prompts: Annotated[dict[Name, Text], Field(max_length=50)] = Field(
        default_factory=dict, description="Prompts by the name of an agent; `*` is what failed."
    )
    new_prompt: Text | None = Field(default=None, description="One prompt, for `agent` or for what failed.")
    agent: Name | None = None
    append: bool = Field(default=False, description="The text is added to the prompt instead of taking its place.")

    @model_validator(mode="after")
    def _has_a_prompt(self) -> PromptEdit:
        self.only_one("prompts", "new_prompt")
        if not self.prompts and self.new_prompt is None:
            raise missing("prompts")
        if self.agent is not None and self.new_prompt is None:
            raise PydanticCustomError("alone", "Goes with new_prompt.", {"at": "agent"})
        return self

    def action(self) -> RecoveryAction:
        prompts = {self.agent or "*": self.new_prompt} if self.new_prompt is not None else dict(self.prompts)
        return RecoveryAction("prompt_edit", prompts=prompts, append=self.append, **self.common())


class ModelFallback(_Automatic):
    """Does the step again with another model."""

    type: Literal["model_fallback"]
    models: Annotated[dict[Name, Name], Field(max_length=50)] = Field(
        default_factory=dict, description="Models by the name of an agent; `*` is every agent."
    )
    model: Name | None = Field(default=None, description="One model for every agent.")

    @model_validator(mode="after")
    def _has_a_model(self) -> ModelFallback:
        self.only_one("models", "model")
        if not self.models and self.model is None:
            raise missing("model")
        return self

    def action(self) -> RecoveryAction:
        models = {"*": self.model} if self.model is not None else dict(self.models)
        return RecoveryAction("model_fallback", models=models, **self.common())


class _Waiting(Part):
    """What actions have that wait for a person: taken as often as it needs, as a person acts each time."""

    times: Times | None = None
    note: Annotated[str, Field(max_length=500)] = Field(default="", description="What the person should know.")


class Escalate(_Waiting):
    """Pauses the run, and tells it as urgent."""

    type: Literal["escalate"]

    def action(self) -> RecoveryAction:
        return RecoveryAction("escalate", times=self.times or 0, note=self.note)


class ManualIntervention(_Waiting):
    """Pauses the run until a person has looked at it."""

    type: Literal["manual_intervention"]

    def action(self) -> RecoveryAction:
        return RecoveryAction("manual_intervention", times=self.times or 0, note=self.note)


AnyAction = Retry | RetryFailedPart | Rollback | PromptEdit | ModelFallback | Escalate | ManualIntervention


_Typed = Annotated[AnyAction, Field(discriminator="type")]
_Named = Literal["retry", "retry_failed_part", "rollback", "escalate", "manual_intervention"]


def _by_name(value: Any) -> Any:
    """An action without settings may be written as its name alone."""
    return {"type": value} if isinstance(value, str) else value


Action = Annotated[_Typed, BeforeValidator(_by_name, json_schema_input_type=_Typed | _Named)]
Actions = Annotated[list[Action], Field(min_length=1, max_length=20)]
