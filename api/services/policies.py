"""Execution policies: make, read, change (which adds a version), delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from activities.policies import policy_problems
from activities.policies.channels import address_problems, unmasked
from activities.tools.addresses import AddressPolicy
from api.auth.principal import Principal
from api.schemas.common import json_problems
from api.schemas.policies import PolicyCreate, PolicyUpdate
from api.services.auditing import audited, changes
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.policies import PolicyRepository
from models.repositories.workflows import WorkflowRepository
from models.tables import ExecutionPolicy, ExecutionPolicyVersion
from models.tables.base import now
from omium_core.errors import InvalidInput, Problem


class PolicyService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._addresses = AddressPolicy(process.settings.http_allow_private)

    async def create(self, caller: Principal, wanted: PolicyCreate) -> ExecutionPolicy:
        """Raises `InvalidInput` with paths such as `policy_config.rules[0].actions[1].prompts`, `WorkflowNotFound`."""
        self._judge(wanted.policy_type, wanted.policy_config)
        policy = ExecutionPolicy(tenant_id=caller.tenant_id, **wanted.model_dump())
        async with self._process.database.transaction(caller.tenant_id) as session:
            if wanted.workflow_id is not None:
                await WorkflowRepository(session, caller.tenant_id).get(wanted.workflow_id)
            await PolicyRepository(session, caller.tenant_id).add(policy)
            await audited(session, caller, "policy.create", "policy", policy.id, new=_told(policy))
        return policy

    async def get(self, caller: Principal, policy_id: UUID) -> ExecutionPolicy:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await PolicyRepository(session, caller.tenant_id).get(policy_id)

    async def list(self, caller: Principal, page: Page, **filters: Any) -> Listing[ExecutionPolicy]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await PolicyRepository(session, caller.tenant_id).list(page, **filters)

    async def versions(self, caller: Principal, policy_id: UUID, page: Page) -> Listing[ExecutionPolicyVersion]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            policies = PolicyRepository(session, caller.tenant_id)
            await policies.get(policy_id)
            return await policies.versions(policy_id, page)

    async def update(self, caller: Principal, policy_id: UUID, wanted: PolicyUpdate) -> ExecutionPolicy:
        """The next version: the newest one with what is wanted."""
        wishes = wanted.model_dump(exclude_unset=True)
        # these may be taken away by naming them as null; of the others null says nothing
        kept = ("description", "workflow_id")
        wishes = {name: value for name, value in wishes.items() if value is not None or name in kept}
        async with self._process.database.transaction(caller.tenant_id) as session:
            policies = PolicyRepository(session, caller.tenant_id)
            policy = await policies.get(policy_id, lock=True)
            if wishes.get("policy_type", policy.policy_type) != policy.policy_type:
                problem = Problem("policy_type", f"Cannot change: this is a {policy.policy_type} policy. Make another.")
                raise InvalidInput(f"policy_type: {problem.message}", [problem])
            if "policy_config" in wishes:
                if policy.policy_type == "notification":
                    wishes["policy_config"] = unmasked(wishes["policy_config"], policy.policy_config)
                self._judge(policy.policy_type, wishes["policy_config"])
            if wishes.get("workflow_id") is not None:
                await WorkflowRepository(session, caller.tenant_id).get(wishes["workflow_id"])
            before = _told(policy)
            for name, value in wishes.items():
                setattr(policy, name, value)
            policy.version += 1
            policy.updated_at = now()
            await policies.add(policy)
            old, new = changes(before, _told(policy))
            await audited(session, caller, "policy.update", "policy", policy.id, old=old, new=new)
        return policy

    async def delete(self, caller: Principal, policy_id: UUID) -> None:
        """No run begins with it any more; those that have begun keep it."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            policy = await PolicyRepository(session, caller.tenant_id).get(policy_id, lock=True)
            policy.deleted_at = now()
            session.add(policy)
            await audited(session, caller, "policy.delete", "policy", policy.id, old=_told(policy))

    def _judge(self, policy_type: str, config: dict[str, Any]) -> None:
        problems = json_problems(config, "policy_config") or policy_problems(policy_type, config)
        if policy_type == "notification" and not problems:
            problems = address_problems(config.get("channels"), self._addresses, "policy_config.channels")
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}{more}", problems)


def _told(policy: ExecutionPolicy) -> dict[str, Any]:
    """What the audit log says of a policy; what it does is in its versions."""
    return policy.model_dump(include={"name", "policy_type", "workflow_id", "version", "is_active"})
