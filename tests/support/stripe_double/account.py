"""The books of a Stripe account: its objects, its clock, the events that it makes, and what happens outside of its API.

Cards are known by their name, as Stripe's test cards are: `pm_card_visa` pays, `pm_card_declined` never does,
`pm_card_authentication_required` does so only while its holder is there.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from typing import Any

from tests.support.stripe_double import objects
from tests.support.stripe_double.errors import Refusal, declined, invalid, missing
from tests.support.stripe_double.forms import truth
from tests.support.stripe_double.objects import MONTH, Object

DECLINES = {
    "pm_card_declined": ("card_declined", "insufficient_funds"),
    "pm_card_authentication_required": ("authentication_required", "authentication_required"),
}


class Account:
    def __init__(self, now: int, prices: Mapping[str, int]) -> None:
        self.now = now
        self.tables: dict[str, dict[str, Object]] = {
            kind: {}
            for kind in (
                *("customer", "payment_intent", "charge", "refund", "dispute", "subscription", "invoice"),
                *("checkout_session", "portal_session", "schedule", "price", "event", "invoice_payment", "tax_id"),
            )
        }
        self.cards: dict[str, list[str]] = {}
        self.deleted: dict[str, Object] = {}
        #: Ids are nobody else's: several doubles may tell one platform.
        self._mark = secrets.token_hex(5)
        self._count = 0
        for name, amount in prices.items():
            self.tables["price"][name] = objects.price(name, amount)

    # what everything is made of

    def new_id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._mark}{self._count:06d}"

    def get(self, kind: str, found: str, param: str = "id") -> Object:
        if found not in self.tables[kind]:
            raise missing(kind, found, param)
        return self.tables[kind][found]

    def put(self, kind: str, thing: Object) -> Object:
        self.tables[kind][thing["id"]] = thing
        return thing

    def tell(self, kind: str, thing: Object, previous: Mapping[str, Any] | None = None) -> Object:
        """Makes an event of how the object is now."""
        return self.put("event", objects.event(self.new_id("evt"), kind, self.now, copy.deepcopy(thing), previous))

    @property
    def events(self) -> list[Object]:
        """All events, in the order in which they happened."""
        return list(self.tables["event"].values())

    # customers

    def customer(self, found: str) -> Object:
        """Also one that was deleted: of it, its id is told."""
        return self.deleted.get(found) or self.get("customer", found)

    def delete_customer(self, found: str) -> Object:
        """Ends its subscriptions at once. Its payments and invoices stay."""
        gone = self.get("customer", found)
        for each in self.tables["subscription"].values():
            if each["customer"] == found and each["status"] != "canceled":
                self.end(each["id"])
        del self.tables["customer"][found]
        self.cards.pop(found, None)
        self.deleted[found] = {"id": found, "object": "customer", "deleted": True}
        self.tell("customer.deleted", gone)
        return self.deleted[found]

    # payments

    def new_intent(self, given: Mapping[str, Any]) -> Object:
        amount = str(given.get("amount", ""))
        if not amount.isdigit() or not 50 <= int(amount) <= 99_999_999:
            raise invalid("Amount must be between $0.50 and $999,999.99 usd", "amount", "amount_too_small")
        if given.get("customer"):
            self.get("customer", given["customer"], "customer")
        made = self.put("payment_intent", objects.intent(self.new_id("pi"), self.now, given))
        self.tell("payment_intent.created", made)
        if truth(given.get("confirm")):
            self.confirm(made["id"], given.get("payment_method"), off_session=truth(given.get("off_session")))
        return made

    def confirm(self, found: str, card: str | None = None, *, off_session: bool = False) -> Object:
        """Charges the card; raises as the API does when it is declined."""
        made = self.get("payment_intent", found)
        card = card or made["payment_method"] or "pm_card_visa"
        if made["status"] == "succeeded":
            raise invalid(
                "You cannot confirm this PaymentIntent because it has already succeeded.",
                "intent",
                "payment_intent_unexpected_state",
            )
        decline = DECLINES.get(card)
        if decline is not None and (off_session or decline[0] != "authentication_required"):
            made["status"] = "requires_payment_method"
            made["last_payment_error"] = {
                "type": "card_error",
                "code": decline[0],
                "decline_code": decline[1],
                "charge": self.new_id("ch"),
            }
            self.tell("payment_intent.payment_failed", made)
            raise declined(*decline, copy.deepcopy(made))
        charged = self.put("charge", objects.charge(self.new_id("ch"), self.now, made))
        made |= {
            "status": "succeeded",
            "amount_received": made["amount"],
            "latest_charge": charged["id"],
            "last_payment_error": None,
            "payment_method": card,
        }
        if made["setup_future_usage"] == "off_session" and made["customer"]:
            self.cards.setdefault(made["customer"], []).insert(0, card)
        self.tell("charge.succeeded", charged)
        self.tell("payment_intent.succeeded", made)
        return made

    def refund(self, intent: str, amount: int | None = None) -> Object:
        of = self.get("charge", self.get("payment_intent", intent)["latest_charge"] or "")
        amount = of["amount"] - of["amount_refunded"] if amount is None else amount
        if amount > of["amount"] - of["amount_refunded"]:
            raise invalid(
                "Refund amount is greater than unrefunded amount on charge", "amount", "charge_already_refunded"
            )
        made = self.put("refund", objects.refund(self.new_id("re"), self.now, of, amount))
        of["amount_refunded"] += amount
        of["refunded"] = of["amount_refunded"] == of["amount"]
        self.tell("refund.created", made)
        self.tell("charge.refunded", of)
        return made

    def fail_refund(self, found: str) -> None:
        """The bank did not take the money."""
        made = self.get("refund", found)
        made["status"] = "failed"
        of = self.get("charge", made["charge"])
        of["amount_refunded"] -= made["amount"]
        of["refunded"] = False
        self.tell("refund.updated", made, {"status": "succeeded"})
        self.tell("refund.failed", made)

    def dispute(self, intent: str, amount: int | None = None) -> Object:
        of = self.get("charge", self.get("payment_intent", intent)["latest_charge"] or "")
        made = self.put("dispute", objects.dispute(self.new_id("dp"), self.now, of, amount or of["amount"]))
        of["disputed"] = True
        self.tell("charge.dispute.created", made)
        return made

    def close_dispute(self, found: str, status: str) -> None:
        """`won` or `lost`."""
        made = self.get("dispute", found)
        made["status"] = status
        self.tell("charge.dispute.closed", made, {"status": "needs_response"})

    # subscriptions

    def complete_checkout(self, found: str, card: str = "pm_card_visa") -> Object:
        """What a person does on Stripe's page. The subscription that came of it."""
        session = self.get("checkout_session", found)
        made = self.subscribe(
            session["customer"], session["line_items_given"][0]["price"], session["subscription_metadata"], card
        )
        session |= {"status": "complete", "payment_status": "paid", "subscription": made["id"]}
        self.tell("checkout.session.completed", {k: v for k, v in session.items() if k not in _HIDDEN})
        return made

    def subscribe(self, of: str, price: str, metadata: Mapping[str, str], card: str = "pm_card_visa") -> Object:
        found, end = self.new_id("sub"), self.now + MONTH
        first = objects.item(self.new_id("si"), self.now, found, self.get("price", price), end)
        made = self.put("subscription", objects.subscription(found, self.now, of, [first], metadata))
        self.cards.setdefault(of, []).insert(0, card)
        self.tell("customer.subscription.created", made)
        line = objects.line(self.new_id("il"), made, first["price"]["unit_amount"], self.now, end, first["price"])
        self.bill(made, "subscription_create", [line], card)
        self._change(made, {"status": "active"})
        return made

    def bill(self, of: Object, reason: str, lines: list[Object], card: str | None = None) -> Object:
        """An invoice, and the try to have it paid."""
        made = self.put("invoice", objects.invoice(self.new_id("in"), self.now, of, reason, lines))
        of["latest_invoice"] = made["id"]
        self.tell("invoice.created", made)
        if made["total"] > 0:
            self.pay_invoice(made["id"], card)
        return made

    def pay_invoice(self, found: str, card: str | None = None) -> bool:
        made = self.get("invoice", found)
        card = card or next(iter(self.cards.get(made["customer"], ())), "pm_card_visa")
        words = {"subscription_create": "Subscription creation"}.get(made["billing_reason"], "Subscription update")
        paying = objects.intent(
            self.new_id("pi"),
            self.now,
            {"amount": made["amount_due"], "currency": "usd", "customer": made["customer"], "description": words},
        )
        self.put("payment_intent", paying)
        made["attempt_count"] += 1
        try:
            self.confirm(paying["id"], card, off_session=True)
        except Refusal:
            self.tell("invoice.payment_failed", made)
            return False
        made |= {"status": "paid", "amount_paid": made["amount_due"], "amount_remaining": 0}
        paid = {
            "id": self.new_id("inpay"),
            "object": "invoice_payment",
            "created": self.now,
            "amount_paid": made["amount_due"],
            "amount_requested": made["amount_due"],
            "currency": "usd",
            "invoice": made["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"type": "payment_intent", "payment_intent": paying["id"]},
            "status": "paid",
        }
        self.put("invoice_payment", paid)
        self.tell("invoice_payment.paid", paid)
        self.tell("invoice.paid", made)
        self.tell("invoice.payment_succeeded", made)
        return True

    def end_at(self, found: str, at: int | None) -> None:
        """The way of newer portals: the time is written down, and `cancel_at_period_end` stays as it is."""
        self._change(self.get("subscription", found), {"cancel_at": at})

    def renew(self, found: str, *, card: str | None = None) -> Object:
        """The next period begins: a schedule or a cancellation takes effect, else the invoice is paid, or not."""
        made = self.get("subscription", found)
        only = made["items"]["data"][0]
        self.now = max(self.now, only["current_period_end"])
        if made["cancel_at_period_end"]:
            self.end(found)
            return made
        if made["schedule"]:
            schedule = self.get("schedule", made["schedule"])
            if len(schedule["phases"]) > 1:
                only["price"] = self.get("price", schedule["phases"][1]["items"][0]["price"])
            schedule["status"], made["schedule"] = "released", None
        only["current_period_start"], only["current_period_end"] = self.now, self.now + MONTH
        self.tell("customer.subscription.updated", made)
        line = objects.line(
            self.new_id("il"), made, only["price"]["unit_amount"], self.now, self.now + MONTH, only["price"]
        )
        self.now += 1
        billed = self.bill(made, "subscription_cycle", [line], card)
        if billed["status"] != "paid":
            self._change(made, {"status": "past_due"})
        return made

    def retry_invoice(self, found: str, card: str = "pm_card_visa") -> bool:
        """Stripe tries again, or the customer brought another card."""
        billed = self.get("invoice", found)
        paid = self.pay_invoice(found, card)
        details = billed["parent"]["subscription_details"]
        if paid:
            self._change(self.get("subscription", details["subscription"]), {"status": "active"})
        return paid

    def update_subscription(self, found: str, given: Mapping[str, Any]) -> Object:
        made = self.get("subscription", found)
        if made["status"] == "canceled":
            raise missing("subscription", found)
        if "cancel_at" in given:
            self.end_at(made["id"], int(given["cancel_at"]) if given["cancel_at"] else None)
        if "cancel_at_period_end" in given:
            self._change(made, {"cancel_at_period_end": truth(given["cancel_at_period_end"])})
        if "items" in given:
            self._reprice(made, given)
        return made

    def _reprice(self, made: Object, given: Mapping[str, Any]) -> None:
        if made["schedule"]:
            raise invalid("The subscription is managed by the subscription schedule.", "items")
        only, new = made["items"]["data"][0], self.get("price", given["items"][0]["price"], "items[0][price]")
        old, end = only["price"], only["current_period_end"]
        part = (end - self.now) / (end - only["current_period_start"])
        lines = [
            objects.line(self.new_id("il"), made, amount, self.now, end, priced, proration=True)
            for amount, priced in ((-round(old["unit_amount"] * part), old), (round(new["unit_amount"] * part), new))
        ]
        only["price"] = new
        self.tell("customer.subscription.updated", made, {"items": {"data": [{"price": {"id": old["id"]}}]}})
        if given.get("proration_behavior") == "always_invoice":
            self.bill(made, "subscription_update", lines)

    def end(self, found: str) -> Object:
        made = self.get("subscription", found)
        made |= {"status": "canceled", "canceled_at": self.now}
        self.tell("customer.subscription.deleted", made)
        return made

    def new_schedule(self, given: Mapping[str, Any]) -> Object:
        of = self.get("subscription", given.get("from_subscription", ""), "from_subscription")
        if of["schedule"]:
            raise invalid("The subscription is attached to a schedule already.", "from_subscription")
        only = of["items"]["data"][0]
        phase = {
            "start_date": only["current_period_start"],
            "end_date": only["current_period_end"],
            "items": [{"price": only["price"]["id"], "quantity": 1}],
        }
        made = {
            "id": self.new_id("sub_sched"),
            "object": "subscription_schedule",
            "created": self.now,
            "end_behavior": "release",
            "phases": [phase],
            "status": "active",
            "subscription": of["id"],
        }
        self._change(of, {"schedule": made["id"]})
        return self.put("schedule", made)

    def update_schedule(self, found: str, given: Mapping[str, Any]) -> Object:
        made = self.get("schedule", found)
        for phase in given.get("phases", ()):
            for each in phase["items"]:
                self.get("price", each["price"], "phases")
        made["phases"] = given.get("phases", made["phases"])
        return made

    def release_schedule(self, found: str) -> Object:
        made = self.get("schedule", found)
        made["status"] = "released"
        self._change(self.get("subscription", made["subscription"]), {"schedule": None})
        return made

    def _change(self, made: Object, values: Mapping[str, Any]) -> None:
        previous = {name: made[name] for name in values}
        made |= values
        self.tell("customer.subscription.updated", made, previous)


_HIDDEN = ("line_items_given", "subscription_metadata")
