"""The names that the API, the workers and the scripts must agree on when they talk to Temporal."""

from __future__ import annotations

import json
from uuid import UUID

from temporalio.common import SearchAttributeKey

from omium_core.temporal_server import DYNAMIC_CONFIG as DYNAMIC_CONFIG
from omium_core.temporal_server import SEARCH_ATTRIBUTE_NAMES

#: The limit is 400; the rest goes to the payload's own encoding, twice, and to its sealing.
_SUMMARY_BYTES = 230
_QUOTES = 2
_CUT = "..."

#: Name of the one workflow type; started by name so that the API imports no workflow code.
RUN_WORKFLOW = "AgentRun"
#: What a schedule runs: it starts an execution and lasts as long as that.
SCHEDULED_WORKFLOW = "ScheduledStart"
#: Sends what one webhook endpoint is to be told.
WEBHOOK_WORKFLOW = "WebhookDelivery"

TENANT, DEFINITION, FRAMEWORK, RUN_STATE = SEARCH_ATTRIBUTES = tuple(
    SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTE_NAMES
)


#: What the platform does beside runs. Ids that begin with `platform/` name no tenant: what they are told is no content.
EXPORT_WORKFLOW, ERASURE_WORKFLOW, RETENTION_WORKFLOW = "TenantExport", "TenantErasure", "Retention"
RETENTION_SCHEDULE = "platform/retention"
#: Adds up what analytics tell.
ROLLUP_WORKFLOW, ROLLUP_SCHEDULE = "RollUp", "platform/rollups"


#: Works off one event of Stripe; asks Stripe once a day what our side has missed.
STRIPE_EVENT_WORKFLOW, STRIPE_RECONCILIATION_WORKFLOW = "StripeEvent", "StripeReconciliation"
STRIPE_RECONCILIATION_SCHEDULE = "platform/stripe-reconciliation"


def stripe_event_id(event_id: str) -> str:
    """The id of what works off an event of Stripe."""
    return f"platform/stripe-event/{event_id}"


def export_id(request_id: UUID | str) -> str:
    """The id of an export."""
    return f"platform/export/{request_id}"


def erasure_id(request_id: UUID | str) -> str:
    """The id of an erasure. The tenant's own keys are destroyed by it, so it needs none."""
    return f"platform/erasure/{request_id}"


def workflow_id(tenant_id: UUID | str, execution_id: UUID | str) -> str:
    """The id of a run: the tenant first, so that an id tells whose keys decode it."""
    return f"{tenant_id}/{execution_id}"


def schedule_id(tenant_id: UUID | str, schedule_id: UUID | str) -> str:
    """The id of a schedule; with the time appended, that of what it runs."""
    return f"{tenant_id}/schedule/{schedule_id}"


def webhook_id(tenant_id: UUID | str, endpoint_id: UUID | str) -> str:
    """The id of what sends to an endpoint."""
    return f"{tenant_id}/webhook/{endpoint_id}"


def summary(text: str) -> str:
    """A text as the Web UI's summary of a run or a step, cut to what the server takes: it refuses more than 400 bytes,
    counted in JSON, where a letter beyond ASCII has six of them or twelve."""
    size = _QUOTES
    for position, character in enumerate(text):
        size += len(json.dumps(character)) - _QUOTES
        if size > _SUMMARY_BYTES - len(_CUT):
            return text[:position] + _CUT
    return text


def queue_for(framework: str) -> str:
    """The task queue of a framework, for runs and steps: a step can start on the worker that asked for it.

    Agents that run elsewhere need no framework, so whoever serves flows serves them.
    """
    return f"omium-{'flow' if framework == 'external' else framework}"


def maintenance_queue() -> str:
    """The task queue of what belongs to no framework: light work of the platform itself."""
    return queue_for("maintenance")
