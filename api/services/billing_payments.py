"""Top-ups, subscriptions, the portal, invoices, automatic top-ups: what a tenant does about money with Stripe behind it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from activities.payments import topups
from activities.payments.amounts import cents_of
from activities.payments.client import StripeApi, needed
from activities.payments.customers import ADDRESS, is_customer_gone, with_customer
from activities.payments.plans import LEAST_CENTS, MICRO_PER_CENT, PLANS, PlanBook
from activities.payments.reading import moment
from activities.payments.standing import LIVE, Standing
from activities.payments.subscribing import Subscriptions
from api.auth.principal import Principal
from api.schemas.billing_payments import (
    AutoTopupUpdate,
    AutoTopupView,
    CheckoutView,
    InvoiceList,
    InvoiceView,
    PlanList,
    PlanView,
    PortalRequest,
    PortalView,
    SubscribeRequest,
    SubscriptionUpdate,
    SubscriptionView,
    TaxFields,
    TopupRequest,
    TopupView,
)
from api.services.auditing import audited, detailed
from api.services.idempotency import request_hash
from api.wiring import Wiring
from models.repositories.payments import AutoTopupRepository, PaymentRepository, month_of
from models.tables import AutoTopup
from models.tables.base import now
from omium_core.credits import MICRO, PER_DOLLAR, to_credits
from omium_core.errors import InvalidInput, Problem
from omium_core.payment_errors import PaymentServiceFailed


class PaymentService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._plans = PlanBook(process.settings)

    async def topup(self, caller: Principal, wanted: TopupRequest, key: str | None) -> TopupView:
        """Raises `InvalidAmount`, `BillingNotConfigured`, `IdempotencyConflict`."""
        cents = cents_of(wanted.amount_usd)
        api = needed(self._process.stripe)
        digest = request_hash("topup", cents, wanted.model_dump(exclude={"amount_usd"}))
        payment = await topups.write(
            self._process.database, caller.tenant_id, cents, key=key, digest=digest, user_id=caller.user_id
        )
        await self._pass_on(api, caller, wanted)
        made = await topups.begin(self._process.database, api, payment, save_card=wanted.save_card)
        detailed(new={"amount_usd": cents / 100, "payment_intent": made["id"]})
        return TopupView(
            client_secret=made["client_secret"],
            amount_cents=cents,
            credits_to_add=cents,
            payment_intent_id=made["id"],
            status=made["status"],
            publishable_key=self._process.settings.stripe_publishable_key,
        )

    async def plans(self, caller: Principal) -> PlanList:
        """Works without Stripe."""
        held = await self.subscription(caller)
        current = held.plan if held.status in LIVE else None
        shown = [
            PlanView(
                name=plan.name,
                title=plan.title,
                description=plan.description,
                price_usd=None if plan.price_cents is None else plan.price_cents / 100,
                interval="month",
                credits_per_month=self._credits(plan.name),
                tier=plan.tier,
                limits=dict(self._plans.limits(plan.tier)),
                available=self._process.stripe is not None and self._plans.price_id(plan.name) is not None,
                current=plan.name == current,
            )
            for plan in PLANS.values()
        ]
        return PlanList(plans=shown, credits_per_usd=PER_DOLLAR, minimum_topup_usd=LEAST_CENTS / 100)

    async def subscription(self, caller: Principal) -> SubscriptionView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            tenant = await PaymentRepository(session, caller.tenant_id).lock()
            found = await Standing(session, tenant, self._plans).current()
        if found is None:
            return SubscriptionView(plan=None, tier=tenant.subscription_tier, status="none")
        row, status = found
        return SubscriptionView(
            plan=row.plan,
            tier=tenant.subscription_tier,
            status=status,
            next_plan=row.next_plan,
            cancel_at_period_end=row.cancel_at_period_end,
            current_period_start=row.current_period_start,
            current_period_end=row.current_period_end,
            canceled_at=row.canceled_at,
            credits_per_month=None if row.plan is None else self._credits(row.plan),
            stripe_subscription_id=row.stripe_subscription_id,
        )

    async def subscribe(self, caller: Principal, wanted: SubscribeRequest, key: str | None) -> CheckoutView:
        """Raises `AlreadySubscribed`, `BillingNotConfigured`, `InvalidInput`."""
        success = self._url("success_url", wanted.success_url, "/billing?checkout=success")
        cancel = self._url("cancel_url", wanted.cancel_url, "/billing?checkout=cancelled")
        api = needed(self._process.stripe)
        subscriptions = self._subscriptions()
        subscriptions.price_of(wanted.plan)
        await self._pass_on(api, caller, wanted)
        made = await subscriptions.begin(caller.tenant_id, wanted.plan, success_url=success, cancel_url=cancel, key=key)
        detailed(new={"plan": wanted.plan, "checkout_session": made["id"]})
        return CheckoutView(
            checkout_session_id=made["id"],
            checkout_url=made.get("url"),
            plan=wanted.plan,
            publishable_key=self._process.settings.stripe_publishable_key,
        )

    async def change(self, caller: Principal, wanted: SubscriptionUpdate, key: str | None) -> SubscriptionView:
        """Raises `SubscriptionNotFound`, `InvalidInput` for a change that is none."""
        if (wanted.plan is None) == (wanted.cancel_at_period_end is None):
            problem = Problem("plan", "Give either plan or cancel_at_period_end.")
            raise InvalidInput(f"plan: {problem.message}", [problem])
        subscriptions = self._subscriptions()
        if wanted.plan is not None:
            await subscriptions.change_plan(caller.tenant_id, wanted.plan, key=key)
        else:
            await subscriptions.cancel_at_period_end(caller.tenant_id, bool(wanted.cancel_at_period_end))
        return await self._changed(caller, wanted.model_dump(exclude_none=True))

    async def cancel(self, caller: Principal, *, immediately: bool) -> SubscriptionView:
        """With the period that was paid, or at once."""
        subscriptions = self._subscriptions()
        if immediately:
            await subscriptions.cancel_now(caller.tenant_id)
        else:
            await subscriptions.cancel_at_period_end(caller.tenant_id, True)
        return await self._changed(caller, {"cancelled": "now" if immediately else "at the end of the period"})

    async def portal(self, caller: Principal, wanted: PortalRequest) -> PortalView:
        url = self._url("return_url", wanted.return_url, "/billing")
        api = needed(self._process.stripe)
        made = await with_customer(
            self._process.database, api, caller.tenant_id, lambda customer: api.create_portal(customer, url)
        )
        return PortalView(url=made["url"])

    async def invoices(self, caller: Principal, limit: int, cursor: str | None) -> InvoiceList:
        """Whoever never paid has none, also where there is no key of Stripe."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            tenant = await PaymentRepository(session, caller.tenant_id).lock()
        if tenant.stripe_customer_id is None:
            return InvoiceList(invoices=[], limit=limit, next_cursor=None)
        api = needed(self._process.stripe)
        try:
            rows, more = await api.invoices(tenant.stripe_customer_id, limit, cursor)
        except PaymentServiceFailed as error:
            if not is_customer_gone(error):
                raise
            rows, more = [], False
        shown = [_invoice(row) for row in rows]
        return InvoiceList(invoices=shown, limit=limit, next_cursor=shown[-1].id if more and shown else None)

    async def auto_topup(self, caller: Principal) -> AutoTopupView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return _rule_view(await AutoTopupRepository(session, caller.tenant_id).get())

    async def set_auto_topup(self, caller: Principal, wanted: AutoTopupUpdate) -> AutoTopupView:
        """Sets the rule; one that was paused may pay again. Raises `InvalidAmount`, `BillingNotConfigured`."""
        cents = cents_of(wanted.amount_usd)
        if wanted.enabled:
            needed(self._process.stripe)
        async with self._process.database.transaction(caller.tenant_id) as session:
            await PaymentRepository(session, caller.tenant_id).lock()
            rules = AutoTopupRepository(session, caller.tenant_id)
            rule = await rules.get(lock=True)
            before = None if rule is None else _rule_view(rule).model_dump()
            values: dict[str, Any] = {
                "enabled": wanted.enabled,
                "threshold": wanted.threshold_credits * MICRO,
                "amount_cents": cents,
                "max_per_month": wanted.max_per_month,
            }
            if rule is None:
                rule = AutoTopup(tenant_id=caller.tenant_id, **values)
            else:
                for name, value in values.items():
                    setattr(rule, name, value)
                if rule.paused_at is not None:
                    rule.armed, rule.paused_at, rule.paused_reason = True, None, None
            await rules.add(rule)
            view = _rule_view(rule)
            await audited(
                session, caller, "billing.auto_topup", "tenant", caller.tenant_id, old=before, new=view.model_dump()
            )
        return view

    async def _changed(self, caller: Principal, what: dict[str, Any]) -> SubscriptionView:
        detailed(new=what)
        return await self.subscription(caller)

    def _subscriptions(self) -> Subscriptions:
        return Subscriptions(self._process.database, needed(self._process.stripe), self._process.settings)

    def _credits(self, plan: str) -> int | None:
        micro = self._plans.credits(plan)
        return None if micro is None else micro // MICRO

    async def _pass_on(self, api: StripeApi, caller: Principal, wanted: TaxFields) -> None:
        """Gives Stripe the address and tax ids that taxes are worked out from."""
        if wanted.billing_address is None and not wanted.tax_ids:
            return

        async def pass_on(customer: str) -> None:
            if wanted.billing_address is not None:
                given = wanted.billing_address.model_dump(exclude_none=True)
                address = {name: given.get(name, "") for name in ADDRESS}
                await api.update_customer(customer, {"address": address})
            for tax_id in wanted.tax_ids or ():
                await api.create_tax_id(customer, tax_id.type, tax_id.value)

        await with_customer(self._process.database, api, caller.tenant_id, pass_on)

    def _url(self, field: str, given: str | None, default: str) -> str:
        """A page of ours, or the one that was given."""
        settings = self._process.settings
        if given is None:
            return (settings.app_url or settings.public_url).rstrip("/") + default
        try:
            parts = urlsplit(given)
            well = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            well = False
        if not well:
            raise InvalidInput(
                f"{field}: must be an address with http or https.", [Problem(field, "must be an address.")]
            )
        return given


def _rule_view(rule: AutoTopup | None) -> AutoTopupView:
    if rule is None:
        return AutoTopupView(
            enabled=False,
            threshold_credits=None,
            amount_usd=None,
            max_per_month=None,
            topups_this_month=0,
            paused_reason=None,
            paused_at=None,
        )
    return AutoTopupView(
        enabled=rule.enabled,
        threshold_credits=to_credits(rule.threshold),
        amount_usd=rule.amount_cents * MICRO_PER_CENT / (MICRO * PER_DOLLAR),
        max_per_month=rule.max_per_month,
        topups_this_month=rule.in_month if rule.month == month_of(now()) else 0,
        paused_reason=rule.paused_reason,
        paused_at=rule.paused_at,
    )


def _invoice(row: dict[str, Any]) -> InvoiceView:
    taxes = sum(each.get("amount") or 0 for each in row.get("total_taxes") or ())
    return InvoiceView(
        id=row["id"],
        number=row.get("number"),
        status=row.get("status"),
        currency=row["currency"],
        subtotal_usd=row["subtotal"] / 100,
        tax_usd=(taxes or row.get("tax") or 0) / 100,
        total_usd=row["total"] / 100,
        amount_paid_usd=row["amount_paid"] / 100,
        created_at=moment(row["created"]),
        period_start=moment(row.get("period_start")),
        period_end=moment(row.get("period_end")),
        hosted_invoice_url=row.get("hosted_invoice_url"),
        pdf_url=row.get("invoice_pdf"),
    )
