"""The events that an endpoint can be told of, with what each says. Names are part of the interface: never rename one."""

from __future__ import annotations

from collections.abc import Sequence

from omium_core.errors import Problem

#: Those of a run's timeline, by their names there.
OF_RUNS = {
    "execution.started": "A run began.",
    "execution.completed": "A run ended well.",
    "execution.failed": "A run failed for good.",
    "execution.cancelled": "A run was cancelled.",
    "execution.paused": "A run was paused by a person.",
    "execution.waits": "A run waits: `details.reason` says for what (approval, consensus, credits, budget, recovery).",
    "execution.resumed": "A run goes on.",
    "execution.rolled_back": "A run stands at an earlier checkpoint again.",
    "execution.retried": "A run that had failed was taken up again.",
    "execution.forked": "A run was made from a checkpoint of another.",
    "step.completed": "A step ended, and its checkpoint is kept.",
    "step.failed": "An attempt of a step failed.",
    "step.skipped": "A step was not run because its condition did not hold.",
    "approval.requested": "A run asks a person.",
    "approval.answered": "A person, or the default at the deadline, answered.",
    "handoff.proposed": "A handoff between agents is voted on.",
    "handoff.committed": "A handoff was agreed.",
    "handoff.rejected": "A handoff was not agreed.",
    "handoff.failed": "A handoff found no quorum in time.",
    "recovery.action": "A policy, or a person, does something about a failure.",
    "failure.escalated": "A failure needs a person.",
    "failure.resolved": "A failure was marked as resolved.",
    "rollback.started": "A rollback began.",
    "rollback.failed": "A rollback could not be done.",
    "effect.undone": "What a tool had done outside was undone by a rollback.",
    "checkpoint.named": "A checkpoint was given a name.",
    "checkpoint.deleted": "A checkpoint was deleted.",
}

#: Those of the tenant itself: what people and programs did, by the actions of the audit log.
OF_ACTIONS = {
    "workflow.create": ("workflow.created", "A workflow was registered."),
    "workflow.update": ("workflow.updated", "A workflow has a new version."),
    "workflow.delete": ("workflow.deleted", "A workflow was taken away."),
    "policy.create": ("policy.created", "A policy was made."),
    "policy.update": ("policy.updated", "A policy has a new version."),
    "policy.delete": ("policy.deleted", "A policy was taken out of use."),
    "api_key.create": ("api_key.created", "An API key was made."),
    "api_key.rotate": ("api_key.rotated", "An API key has a successor."),
    "api_key.revoke": ("api_key.revoked", "An API key was revoked."),
    "member.invite": ("member.invited", "A person was invited."),
    "member.join": ("member.joined", "A person joined."),
    "member.update": ("member.updated", "A person's role changed."),
    "member.remove": ("member.removed", "A person was removed."),
    "connection.create": ("connection.created", "A connection was made."),
    "connection.update": ("connection.updated", "A connection changed."),
    "connection.delete": ("connection.deleted", "A connection was deleted."),
    "budget.create": ("budget.created", "A budget was made."),
    "budget.update": ("budget.updated", "A budget changed."),
    "budget.delete": ("budget.deleted", "A budget was deleted."),
    "schedule.create": ("schedule.created", "A schedule was made."),
    "schedule.update": ("schedule.updated", "A schedule changed."),
    "schedule.delete": ("schedule.deleted", "A schedule was deleted."),
    "schedule.pause": ("schedule.paused", "A schedule was paused."),
    "schedule.resume": ("schedule.resumed", "A schedule goes on."),
}

OF_THE_PLATFORM = {
    "schedule.refused": "A schedule fired and could not start its run: `data.error` says why.",
    "webhook.disabled": "An endpoint was switched off because it took nothing for days, or answered 410.",
    "budget.threshold": "A part of a budget is used up.",
    "budget.exceeded": "A budget is used up; runs wait.",
    "credits.low": "Few credits are left.",
    "credits.exhausted": "No credits are left; runs wait.",
    "payment.failed": "A payment, an automatic top-up or a renewal failed: `data.code` says why.",
    "topup.limit": "The automatic top-ups of this month are used up.",
}

#: Sent by `POST /webhooks/{id}/test`, whatever an endpoint listens to.
TEST = "webhook.test"

CATALOGUE: dict[str, str] = {**OF_RUNS, **dict(OF_ACTIONS.values()), **OF_THE_PLATFORM}
KINDS = sorted({name.partition(".")[0] for name in CATALOGUE})


def event_problems(events: Sequence[str]) -> list[Problem]:
    """Names of events that there are not: neither one of the catalogue, nor `<kind>.*`, nor `*`."""
    patterns = {"*", *(f"{kind}.*" for kind in KINDS)}
    return [
        Problem(f"events[{index}]", f"There is no event {name[:100]!r}; GET /webhooks/events lists them.")
        for index, name in enumerate(events)
        if name not in CATALOGUE and name not in patterns
    ]
