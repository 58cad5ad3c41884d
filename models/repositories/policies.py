"""Execution policies of a tenant, with all their versions."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import or_, select
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import ExecutionPolicy, ExecutionPolicyVersion
from omium_core.errors import PolicyNotFound


class PolicyRepository(Repository):
    async def add(self, policy: ExecutionPolicy) -> None:
        """Writes a policy as it is now, and keeps that as a version."""
        self.session.add(policy)
        await self.session.flush()
        self.session.add(
            ExecutionPolicyVersion(
                tenant_id=self.tenant_id,
                policy_id=policy.id,
                version=policy.version,
                name=policy.name,
                policy_config=policy.policy_config,
                is_active=policy.is_active,
            )
        )
        await self.session.flush()

    async def get(self, policy_id: UUID, *, lock: bool = False) -> ExecutionPolicy:
        """The policy, or `PolicyNotFound`; deleted ones are not found."""
        query = select(ExecutionPolicy).where(
            col(ExecutionPolicy.tenant_id) == self.tenant_id,
            col(ExecutionPolicy.id) == policy_id,
            col(ExecutionPolicy.deleted_at).is_(None),
        )
        policy = (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
        if policy is None:
            raise PolicyNotFound(f"Policy {policy_id} does not exist.", policy_id=str(policy_id))
        return policy

    async def list(
        self,
        page: Page,
        *,
        workflow_id: UUID | None = None,
        policy_type: str | None = None,
        is_active: bool | None = None,
    ) -> Listing[ExecutionPolicy]:
        query = select(ExecutionPolicy).where(
            col(ExecutionPolicy.tenant_id) == self.tenant_id, col(ExecutionPolicy.deleted_at).is_(None)
        )
        if workflow_id is not None:
            query = query.where(col(ExecutionPolicy.workflow_id) == workflow_id)
        if policy_type is not None:
            query = query.where(col(ExecutionPolicy.policy_type) == policy_type)
        if is_active is not None:
            query = query.where(col(ExecutionPolicy.is_active) == is_active)
        return await self._page(query, ExecutionPolicy, page)

    async def versions(self, policy_id: UUID, page: Page) -> Listing[ExecutionPolicyVersion]:
        """What a policy said, the newest version first."""
        query = select(ExecutionPolicyVersion).where(
            col(ExecutionPolicyVersion.tenant_id) == self.tenant_id, col(ExecutionPolicyVersion.policy_id) == policy_id
        )
        return await self._page(query, ExecutionPolicyVersion, page)

    async def holding(self, workflow_id: UUID) -> Sequence[ExecutionPolicy]:
        """The active policies that hold for runs of a workflow, those that were made later later."""
        query = (
            select(ExecutionPolicy)
            .where(
                col(ExecutionPolicy.tenant_id) == self.tenant_id,
                col(ExecutionPolicy.deleted_at).is_(None),
                col(ExecutionPolicy.is_active),
                or_(col(ExecutionPolicy.workflow_id).is_(None), col(ExecutionPolicy.workflow_id) == workflow_id),
            )
            .order_by(col(ExecutionPolicy.id))
        )
        return (await self.session.execute(query)).scalars().all()
