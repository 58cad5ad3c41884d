"""Books what Stripe tells of payments: grants credits, and takes them back for what goes back.

Each fact is kept, and what follows from all facts together is booked: so neither their order nor their number matters. The
tenant is locked meanwhile (`PaymentRepository.lock`), so facts that come at once are booked one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.payments.facts import Back, Intent, Invoice, InvoicePaid
from activities.payments.plans import CURRENCY, MICRO_PER_CENT, MOST_CENTS, PlanBook
from models.repositories.ledger import LedgerRepository, Movement
from models.repositories.payments import AutoTopupRepository, PaymentRepository
from models.tables import Payment, PaymentReturn, Tenant
from models.tables.base import now

#: What a payment of these statuses may still become.
_OPEN = ("creating", "pending", "failed")
_STATUSES = {"succeeded": "succeeded", "canceled": "canceled"}


class Refused(Exception):
    """A fact that is not booked, now or later; the text says why."""


class Books:
    """The payments of one tenant, in the transaction of `session`."""

    def __init__(self, session: AsyncSession, tenant: Tenant, plans: PlanBook, grace_days: int) -> None:
        self._payments = PaymentRepository(session, tenant.id)
        self._rules = AutoTopupRepository(session, tenant.id)
        self._ledger = LedgerRepository(session, tenant.id)
        self._tenant = tenant
        self._plans = plans
        self._grace = timedelta(days=grace_days)

    async def intent(self, told: Intent) -> None:
        """A payment intent of a top-up. Those of invoices grant nothing: their invoices do."""
        if told.of_invoice:
            return
        _check_money(told.currency, told.amount)
        row = await self._payments.find(intent=told.id, payment_id=told.payment_id)
        if row is not None and row.stripe_payment_intent_id not in (None, told.id):
            row = None
        if row is not None and row.kind == "invoice":
            return
        if row is None:
            kind = "auto_topup" if told.automatic else "topup"
            row = Payment(tenant_id=self._tenant.id, kind=kind, amount_cents=told.amount, status="pending")
        row.stripe_payment_intent_id = told.id
        if told.status == "succeeded":
            await self._paid(row, told)
        elif told.failure_code is not None and told.status in ("requires_payment_method", "canceled"):
            await self._declined(row, told)
        elif row.kind == "auto_topup" and told.status == "canceled":
            # else the rule would wait for its credits for ever
            await self._declined(row, replace(told, failure_code="canceled"))
        elif row.status in _OPEN:
            row.status = _STATUSES.get(told.status, "failed" if row.status == "failed" else "pending")
            await self._payments.add(row)
        else:
            await self._payments.add(row)

    async def _paid(self, row: Payment, told: Intent) -> None:
        if row.granted_at is None:
            row.amount_cents, row.credits = told.amount, told.amount * MICRO_PER_CENT
            row.status, row.failure_code = "succeeded", None
            row.granted_at = row.completed_at = now()
            await self._payments.add(row)
            await self._ledger.grant(
                Movement(
                    key=f"payment_intent:{told.id}",
                    amount=row.credits,
                    source="purchase",
                    reference=told.id,
                    user_id=row.user_id,
                    description="Automatic top-up" if row.kind == "auto_topup" else "Top-up",
                    metadata=self._paid_by(told.traces.customer, payment_id=row.id, amount_cents=told.amount),
                )
            )
            if row.kind == "auto_topup":
                await self._rearm()
        await self._settle_returns(row)

    def _paid_by(self, customer: str | None, *, payment_id: UUID, **more: Any) -> dict[str, Any]:
        """What `transactions` tells of a payment."""
        return {
            "payment_id": str(payment_id),
            "stripe_customer_id": customer or self._tenant.stripe_customer_id,
            "payment_method": "stripe",
            "payment_status": "succeeded",
            **more,
        }

    async def _declined(self, row: Payment, told: Intent) -> None:
        automatic, news = row.kind == "auto_topup", row.status in ("creating", "pending")
        if row.status in _OPEN:
            row.status = "canceled" if told.status == "canceled" else "failed"
            row.failure_code, row.failed_at = told.failure_code, now()
        await self._payments.add(row)
        await self._payments.notice(
            "payment.failed",
            # an automatic one is tried once, and its event tells what Stripe has answered already
            f"payment.failed:{row.id if automatic else f'{told.id}:{told.attempt}'}"[:255],
            {
                "payment_id": str(row.id),
                "amount_usd": told.amount / 100,
                "code": told.failure_code,
                "automatic": automatic,
            },
        )
        # an event that comes late does not pause a rule that was set again since
        if automatic and news:
            await self.pause_rule(str(told.failure_code))

    async def _rearm(self) -> None:
        """The credits of the last fall are there: the next one counts again."""
        rule = await self._rules.get(lock=True)
        if rule is not None:
            rule.armed = True
            await self._rules.add(rule)

    async def pause_rule(self, reason: str) -> None:
        """No automatic top-up until somebody says that the card is in order again."""
        rule = await self._rules.get(lock=True)
        if rule is not None and rule.paused_at is None:
            rule.paused_reason, rule.paused_at = reason[:100], now()
            await self._rules.add(rule)

    async def back(self, told: Back) -> None:
        """A refund, a dispute, or a charge with its refunds."""
        _check_money(told.currency, told.amount, zero=True)
        row = await self._payments.find_return(told.id)
        if row is None:
            row = PaymentReturn(
                tenant_id=self._tenant.id,
                stripe_id=told.id,
                kind=told.kind,
                stripe_payment_intent_id=told.intent,
                amount_cents=told.amount,
                state=told.state,
            )
        row.amount_cents = max(row.amount_cents, told.amount)
        row.state = max(row.state, told.state, key=("asked", "open", "kept", "void").index)
        await self._payments.add(row)
        payment = await self._payments.find(intent=told.intent)
        if payment is not None:
            await self._settle_returns(payment)

    async def invoice(self, told: Invoice) -> None:
        """An invoice of a subscription: a month's credits when it is paid."""
        if told.traces.subscription is None:
            raise Refused("The invoice is of no subscription.")
        _check_money(told.currency, told.total, zero=True, negative=True)
        row = await self._of_invoice(told.id, told.intent)
        row.stripe_subscription_id = told.traces.subscription
        if not told.paid:
            await self._invoice_failed(row, told)
            return
        if row.granted_at is None:
            row.amount_cents, row.credits = max(told.amount, 0), self._worth(told)
            row.status, row.failure_code, row.granted_at, row.completed_at = "succeeded", None, now(), now()
            await self._payments.add(row)
            if row.credits:
                await self._ledger.grant(
                    Movement(
                        key=f"invoice:{told.id}",
                        amount=row.credits,
                        source="plan",
                        reference=told.id,
                        description=_plan_words(told),
                        metadata=self._paid_by(
                            told.traces.customer, payment_id=row.id, subscription_id=told.traces.subscription
                        ),
                    ),
                    expires_at=self._expiry(told),
                )
        await self._settle_returns(row)

    async def invoice_paid(self, told: InvoicePaid) -> None:
        """Says which payment intent an invoice was paid by, so that its refund is known."""
        await self._settle_returns(await self._of_invoice(told.invoice, told.intent))

    async def _of_invoice(self, invoice: str, intent: str | None) -> Payment:
        """The payment of an invoice, with the payment intent that it was paid by, as soon as that is known."""
        row = await self._payments.find(invoice=invoice)
        if row is None:
            row = Payment(
                tenant_id=self._tenant.id, kind="invoice", stripe_invoice_id=invoice, amount_cents=0, status="pending"
            )
        if intent is not None and row.stripe_payment_intent_id is None:
            other = await self._payments.find(intent=intent)
            if other is not None:
                await self._not_a_topup(other)
            row.stripe_payment_intent_id = intent
        await self._payments.add(row)
        return row

    async def _not_a_topup(self, row: Payment) -> None:
        """A payment that looked like a top-up paid an invoice, which grants its own credits."""
        if row.granted_at is not None and row.credits > row.returned:
            taken = await self._ledger.take(
                Movement(
                    key=f"not_a_topup:{row.id}",
                    amount=row.credits - row.returned,
                    source="refund",
                    reference=row.stripe_payment_intent_id,
                    description="Counted with its invoice",
                )
            )
            row.returned += taken or 0
        row.stripe_payment_intent_id, row.status = None, "canceled"
        await self._payments.add(row)

    async def _invoice_failed(self, row: Payment, told: Invoice) -> None:
        if row.status != "succeeded":
            row.status, row.amount_cents, row.failure_code = "failed", told.amount, "invoice_payment_failed"
            row.failed_at = max(row.failed_at or told.at, told.at)
        await self._payments.add(row)
        await self._payments.notice(
            "payment.failed",
            f"invoice.failed:{told.id}:{told.attempts}",
            {"payment_id": str(row.id), "invoice_id": told.id, "amount_usd": told.amount / 100, "renewal": True},
        )

    def _worth(self, told: Invoice) -> int:
        """Millionths of a credit that an invoice grants; none where nothing was to be paid."""
        if told.total <= 0:
            return 0
        counted = [line for line in told.lines if line.proration or line.amount > 0]
        if not any(line.plan for line in counted):
            return max(told.amount, 0) * MICRO_PER_CENT
        worth = (self._plans.worth(line.plan, line.amount, whole=not line.proration) for line in counted if line.plan)
        return max(sum(worth), 0)

    def _expiry(self, told: Invoice) -> datetime:
        """The end of the month that was paid, and some days of grace; without a word on it, a month from then."""
        ends = [line.period_end for line in told.lines if line.period_end is not None and line.amount > 0]
        end = datetime.fromtimestamp(max(ends), UTC) if ends else told.at + timedelta(days=31)
        return end + self._grace

    async def _settle_returns(self, row: Payment) -> None:
        """Brings what was taken back of a payment's credits to what all that is known of it says."""
        if row.granted_at is None or row.stripe_payment_intent_id is None or row.amount_cents <= 0:
            return
        returns = await self._payments.returns(row.stripe_payment_intent_id)
        target = row.credits * min(_cents_back(returns), row.amount_cents) // row.amount_cents
        change = target - row.returned - row.shortfall
        if change == 0:
            return
        row.moves += 1
        of_dispute = any(each.kind == "dispute" for each in returns)
        movement = Movement(
            key=f"return:{row.id}:{row.moves}",
            amount=abs(change),
            source="dispute" if of_dispute else "refund",
            reference=row.stripe_invoice_id or row.stripe_payment_intent_id,
            description="Disputed payment" if of_dispute else "Refunded payment",
            metadata={"payment_id": str(row.id), "payment_intent": row.stripe_payment_intent_id},
        )
        if change > 0:
            taken = await self._ledger.take(movement)
            row.returned += taken or 0
            row.shortfall += change - (taken or 0)
        else:
            # what was spent meanwhile was never taken, so it is not given back either
            forgiven = min(row.shortfall, -change)
            row.shortfall -= forgiven
            back = -change - forgiven
            row.returned -= back
            if back:
                await self._ledger.grant(replace(movement, amount=back, description="Given back: the payment stands"))
        await self._payments.add(row)


def _cents_back(returns: Sequence[PaymentReturn]) -> int:
    """How much of a payment goes back. A charge sums up its refunds, of which some may be known and some have failed since."""
    counted = {kind: [each for each in returns if each.kind == kind] for kind in ("refund", "charge", "dispute")}
    failed = sum(each.amount_cents for each in counted["refund"] if each.state == "void")
    refunds = sum(each.amount_cents for each in counted["refund"] if each.state != "void")
    summed = sum(each.amount_cents for each in counted["charge"]) - failed
    disputes = sum(each.amount_cents for each in counted["dispute"] if each.state in ("open", "kept"))
    return max(refunds, summed) + disputes


def _check_money(currency: str, amount: int, *, zero: bool = False, negative: bool = False) -> None:
    if currency != CURRENCY:
        raise Refused(f"The currency {currency[:10]!r} is not taken: credits are sold in US dollars.")
    if (amount < 0 and not negative) or (amount == 0 and not zero) or amount > MOST_CENTS * 100:
        raise Refused(f"The amount {amount} is none that was paid.")


def _plan_words(told: Invoice) -> str:
    plan = next((line.plan for line in told.lines if line.plan and line.amount > 0), None)
    return f"Plan {plan.capitalize()}" if plan else "Plan"
