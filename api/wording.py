"""The words of the API's description: what its parts, operations, parameters and answers are called.

Said here once, and not in each route, because most of it follows from what an operation is and what it is about. What an
operation does in particular stands in the docstring of its route.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

INTRODUCTION = """\
Durable runs of AI agents: register a workflow, execute it, steer it, read its checkpoints.

* **Credentials**: an API key in `X-API-Key`, or an access token (or a key) in `Authorization: Bearer`. Each operation needs a
  permission; without it the answer is 403. What belongs to another tenant is 404.
* **Lists** are paged by `limit` and `cursor` (the `next_cursor` of the answer before), or by `page` and `per_page`.
* **Errors** all have one shape: `{"error": {"code", "message", "details", "request_id"}}`. Codes are stable.
* **Limits**: answers carry `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`; 429 has `Retry-After`.
* **Repeating safely**: the same `Idempotency-Key` does a thing once, and gives the same answer again.
* **Fields that hold content of runs** are null, and `payloads_hidden` is true, for who lacks `payload:read`.
"""


@dataclass(frozen=True)
class Part:
    """A tag: what it is about, one of its things with the article, and several."""

    about: str
    one: str = ""
    many: str = ""


PARTS = {
    "auth": Part("People: signing up and in, sessions, passwords, second factors."),
    "members": Part("Who belongs to the tenant, and who was invited to it.", "a member", "members"),
    "roles": Part("What members may do: system roles, and the tenant's own.", "a role", "roles"),
    "tenant": Part("The tenant itself.", "the tenant"),
    "api-keys": Part("Credentials of programs.", "an API key", "API keys"),
    "analytics": Part("How runs went, what they used and what they cost."),
    "limits": Part("What the tenant may use, and what it has used.", "the limits"),
    "workflows": Part("Definitions of what agents do, with their versions.", "a workflow", "workflows"),
    "executions": Part("Runs of workflows.", "an execution", "executions"),
    "steering": Part("What is done to a run: pause, resume, cancel, retry, fork; its past.", "an execution"),
    "checkpoints": Part("States of runs, to look at and to go back to.", "a checkpoint", "checkpoints"),
    "approvals": Part("Questions that runs put to people.", "an approval", "approvals"),
    "consensus": Part("Votes on handoffs between agents.", "a handoff"),
    "failures": Part("What went wrong in runs, and what was done about it.", "a failure", "failures"),
    "policies": Part("What happens by itself when something goes wrong.", "a policy", "policies"),
    "external connections": Part(
        "Agents and models at other services.", "an external connection", "external connections"
    ),
    "schedules": Part("Workflows that run at times.", "a schedule", "schedules"),
    "webhooks": Part("Addresses that are told of events.", "a webhook", "webhooks"),
    "notifications": Part("Messages of runs to people.", "a notification", "notifications"),
    "audit": Part("Who did what.", "an entry of the audit log", "entries of the audit log"),
    "data rights": Part("Export, erasure and retention of what is stored."),
    "budgets": Part("What may be spent, by whom, in which time.", "a budget", "budgets"),
    "billing": Part("Credits, and the money that they are bought with."),
    "frameworks": Part("The agent frameworks that workflows are made for.", "a framework", "frameworks"),
    "temporal": Part("For Temporal's own tools: values of runs, opened and sealed."),
    "health": Part("For machines that keep the API running."),
}
#: Names of routes that say what is done with one thing of the part.
_VERBS = {
    "list_all": "List {many}",
    "get": "Show {one}",
    "show": "Show {one}",
    "update": "Change {one}",
    **{
        verb: f"{verb.capitalize()} {{one}}"
        for verb in (
            "acknowledge",
            "analyze",
            "backfill",
            "cancel",
            "create",
            "delete",
            "execute",
            "fork",
            "pause",
            "remove",
            "resolve",
            "resume",
            "retry",
            "revoke",
            "rotate",
            "test",
            "trigger",
        )
    },
    "rollback": "Roll a run back to {one}",
}
#: Names of routes that say what of one thing is shown.
_NOUNS = {"data", "deliveries", "effects", "events", "inputs", "lineage", "rollbacks", "runs", "schema", "versions"}
#: Where the name of a route alone would mislead, by method and path.
_SUMMARIES = {
    "POST /executions": "Start an execution",
    "POST /workflows/{workflow_id}/execute": "Execute a workflow",
    "GET /auth/me": "Show who is asking",
    "POST /auth/login": "Sign in",
    "POST /auth/logout": "Sign out",
    "POST /auth/register": "Sign up",
    "POST /auth/refresh": "Refresh tokens",
    "POST /auth/exchange": "Exchange a token of the identity provider",
    "GET /auth/oauth/{provider}": "Sign in at Google or GitHub",
    "GET /auth/oauth/callback": "Come back from Google or GitHub",
    "POST /auth/mfa/enroll": "Begin with a second factor",
    "POST /auth/mfa/confirm": "Confirm the second factor",
    "POST /auth/mfa/disable": "Give up the second factor",
    "POST /auth/forgot-password": "Ask for a new password",
    "POST /invitations": "Invite somebody",
    "GET /invitations": "List invitations",
    "DELETE /invitations/{invitation_id}": "Revoke an invitation",
    "GET /roles/permissions": "List permissions",
    "GET /policies/schemas": "Show the schemas of policies",
    "GET /recovery-actions": "List recovery actions",
    "GET /recovery-actions/{action_id}": "Show a recovery action",
    "GET /executions/{execution_id}/recovery-actions": "List recovery actions of an execution",
    "GET /executions/{execution_id}/consensus": "Show the consensus of an execution",
    "POST /approvals/{approval_id}/approve": "Approve what a run asks",
    "POST /approvals/{approval_id}/reject": "Reject what a run asks",
    "POST /approvals/{approval_id}/edit": "Approve with edits what a run asks",
    "POST /approvals/{approval_id}/answer": "Answer what a run asks",
    "POST /failures/{failure_id}/recover": "Recover from a failure",
    "POST /external-connections/crewai": "Connect CrewAI AMP",
    "POST /external-connections/langgraph": "Connect a LangGraph Platform",
    "POST /external-connections/autogen": "Connect an AutoGen Studio",
    "POST /external-connections/model-provider": "Connect a model provider",
    "POST /external-connections/{connection_id}/execute": "Start a run at an external connection",
    "GET /external-connections/{connection_id}/status/{kickoff_id}": "Show a run at an external connection",
    "POST /webhooks/{webhook_id}/rotate-secret": "Rotate the secret of a webhook",
    "GET /webhooks/events": "List the events of webhooks",
    "GET /webhooks/{webhook_id}/deliveries/{delivery_id}": "Show a delivery of a webhook",
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": "Send a delivery again",
    "GET /audit-logs/export": "Export the audit log",
    "GET /audit-logs/verify": "Verify the audit log",
    "GET /analytics/executions": "Analyse executions",
    "GET /analytics/usage": "Analyse usage",
    "GET /analytics/costs": "Analyse costs",
    "GET /analytics/failures": "Analyse failures",
    "GET /analytics/checkpoints": "Analyse checkpoints",
    "GET /analytics/reports/{report}": "Download a report",
    "POST /tenant/exports": "Begin an export",
    "GET /tenant/exports": "List exports",
    "GET /tenant/exports/{export_id}": "Show an export",
    "GET /tenant/exports/{export_id}/download": "Download an export",
    "POST /users/{user_id}/exports": "Begin an export of a person",
    "GET /tenant/erasure": "Show the erasure of the tenant",
    "POST /tenant/erasure": "Erase the tenant",
    "DELETE /tenant/erasure": "Cancel the erasure of the tenant",
    "POST /users/{user_id}/erasure": "Erase a person",
    "GET /tenant/retention": "Show the retention",
    "PATCH /tenant/retention": "Change the retention",
    "POST /webhooks/stripe": "Take an event of Stripe",
    "GET /billing/balance": "Show the balance",
    "GET /billing/transactions": "List transactions",
    "GET /billing/usage": "Show what was used",
    "GET /billing/credit-usage": "List charges",
    "GET /billing/prices": "List prices",
    "GET /executions/{execution_id}/costs": "Show what an execution did cost",
    "GET /billing/alerts": "Show when few credits are told of",
    "PUT /billing/alerts": "Change when few credits are told of",
    "GET /executions/{execution_id}/budget": "Show the budget of an execution",
    "PUT /executions/{execution_id}/budget": "Change the budget of an execution",
    "POST /billing/topup": "Begin a top-up",
    "GET /billing/plans": "List plans",
    "GET /billing/subscription": "Show the subscription",
    "POST /billing/subscription": "Begin a subscription",
    "PUT /billing/subscription": "Change the subscription",
    "DELETE /billing/subscription": "Cancel the subscription",
    "POST /billing/portal": "Open the customer portal",
    "GET /billing/invoices": "List invoices",
    "GET /billing/auto-topup": "Show the rule for automatic top-ups",
    "PUT /billing/auto-topup": "Set the rule for automatic top-ups",
    "POST /temporal/codec/decode": "Decode values",
    "POST /temporal/codec/encode": "Encode values",
    "GET /.well-known/jwks.json": "Show the keys that verify access tokens",
    "GET /health/live": "Tell whether the process answers",
    "GET /health/ready": "Tell whether all parts answer",
    "GET /metrics": "Show metrics",
}
_PARAMETERS = {
    "limit": "How many a page has",
    "per_page": "The same as `limit`",
    "page": "Which page, from 1",
    "offset": "How many to leave out first",
    "idempotency-key": "Does this once, however often it is sent with the same key; kept for a day and more",
    "status": "Only those that are so",
    "from": "Only from this time on",
    "to": "Only before this time",
    "created_after": "Only those made after this time",
    "start_date": "Only from this day or moment on",
    "end_date": "Only up to this day, or before this moment",
    "period": "The day, week, month or year that is not over, in UTC",
    "created_before": "Only those made before this time",
    "state": "What the sign-in was begun with",
    "code": "What the other site gave",
    "provider": "`google` or `github`",
    "lineage": "The line of the run's history, from 1; the present one if not said",
    "raw": "The state as its framework left it",
    "format": "How the entries are written",
    "include_revoked": "Also those that work no more",
    "name": "The framework's name",
    "group_by": "What the figures are told for",
    "report": "What the report is about",
    "kickoff_id": "The run's id at the service",
    "log_id": "The handoff's id in the consensus log",
    "version": "Which version; the present one if not said",
}
_ID = "01a203d5-abab-76ed-bcbd-95b89b040ef1"
#: Bodies, by the name of their schema.
EXAMPLES: dict[str, dict[str, Any]] = {
    "RegisterRequest": {"email": "ada@example.com", "password": "correct horse battery staple", "tenant_name": "Acme"},
    "LoginRequest": {"email": "ada@example.com", "password": "correct horse battery staple"},
    "InvitationCreate": {"email": "grace@example.com", "roles": ["developer"]},
    "BudgetCreate": {"scope": "tenant", "period": "month", "amount": 5000, "thresholds": [50, 80, 100]},
    "RoleCreate": {"name": "reviewer", "permissions": ["execution:read", "approval:answer"]},
    "ApiKeyCreate": {"name": "ci", "scopes": ["read", "write"], "expires_at": "2027-01-01T00:00:00Z"},
    "WorkflowCreate": {
        "name": "greeting",
        "framework": "langgraph",
        "workflow_definition": {
            "nodes": [{"id": "greet", "type": "template", "template": "Hello {{ name }}", "output": "greeting"}],
            "edges": [{"from": "START", "to": "greet"}, {"from": "greet", "to": "END"}],
            "state": {"name": {"type": "string"}, "greeting": {"type": "string"}},
        },
    },
    "ExecuteRequest": {"inputs": {"name": "Ada"}},
    "ExecutionCreate": {"workflow_id": _ID, "inputs": {"name": "Ada"}},
    "RollbackRequest": {"reason": "the prompt was wrong", "resume": True},
    "PolicyCreate": {"name": "patient", "policy_type": "retry", "policy_config": {"max_retries": 5}},
    "CrewAICreate": {
        "connection_name": "research crew",
        "crew_url": "https://research.crewai.com",
        "bearer_token": "the-token-of-the-crew",
    },
    "ScheduleCreate": {"workflow_id": _ID, "name": "mornings", "cron": "30 7 * * mon-fri", "timezone": "Europe/Berlin"},
    "TopupRequest": {"amount_usd": 100.00},
    "SubscribeRequest": {"plan": "pro"},
    "SubscriptionUpdate": {"plan": "developer"},
    "AutoTopupUpdate": {"threshold_credits": 1000, "amount_usd": 50.00, "max_per_month": 5},
    "WebhookCreate": {"url": "https://hooks.example.com/omium", "events": ["execution.completed", "execution.failed"]},
}
_ANSWERS = {
    "200": "What was asked for",
    "201": "It is made",
    "202": "It is taken, and goes on by itself",
    "204": "It is done",
}
#: What the framework says where nobody said anything.
_UNSAID = "Successful Response"


def describe_operations(app: FastAPI, prefix: str) -> None:
    """From here on the description has words for everything."""
    app.description = INTRODUCTION
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        if "tags" not in document:
            document["tags"] = [{"name": name, "description": part.about} for name, part in PARTS.items()]
            for name, example in EXAMPLES.items():
                document["components"]["schemas"][name]["examples"] = [example]
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _describe(operation, f"{method.upper()} {path.removeprefix(prefix.rstrip('/'))}")
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _describe(operation: dict[str, Any], door: str) -> None:
    operation["summary"] = summary = _summary(operation, door)
    # names of functions in clients that are made from the description
    words = re.findall(r"[A-Za-z]+", summary)
    name = "_".join(word.lower() for word in words if word not in ("a", "an", "the"))
    operation["operationId"] = f"{name}_put" if door.startswith("PUT ") else name
    for parameter in operation.get("parameters", ()):
        if not (parameter.get("description") or parameter["schema"].get("description")):
            parameter["description"] = _parameter(parameter["name"], parameter["in"])
    for status, answer in operation["responses"].items():
        if answer.get("description") == _UNSAID:
            answer["description"] = _ANSWERS[status]


def _summary(operation: dict[str, Any], door: str) -> str:
    if door in _SUMMARIES:
        return _SUMMARIES[door]
    part = PARTS[operation["tags"][0]]
    said: str = operation["summary"]
    name = said.lower().replace(" ", "_")
    if name in _VERBS:
        return _VERBS[name].format(one=part.one, many=part.many)
    if name in _NOUNS:
        return f"Show the {name} of {part.one}"
    # a name that says it all, such as change_password
    return said.capitalize()


def _parameter(name: str, place: str) -> str:
    if name in _PARAMETERS:
        return _PARAMETERS[name]
    plain = name.removesuffix("_id").replace("_", " ")
    if place == "path":
        return f"The {plain}'s id"
    if name.endswith("_id"):
        return f"Only those of this {plain}"
    return f"Only those with this `{name}`"
