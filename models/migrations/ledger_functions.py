"""The functions that move credits (migration 0012). Every call of a model pays for two of them, so each is one round trip.

All of them lock the tenant's account before they read anything that they decide by: the movements of a tenant happen one
after the other, however many workers ask at once. They run with the rights of their caller, so row security holds.

    credit_reserve   the most that a call can cost is held, or the reason why it cannot be
    credit_settle    what a call did cost is spent, its hold is gone
    credit_release   a hold is gone, and nothing was spent
    credit_grant     a lot of credits comes in
    credit_take      credits go out again: a refund, an adjustment
    credit_expire    lots whose time is over go, but for what is held
    credit_step_fee  a step that is completed pays what the platform asks for it, if it asks for anything
"""

from __future__ import annotations

from models.migrations.ledger_calls import CALL_DROPS, CALL_FUNCTIONS

FUNCTIONS = (
    # ids that sort by time, for what the functions make themselves
    "CREATE FUNCTION credit_id() RETURNS uuid LANGUAGE sql VOLATILE AS 'SELECT uuidv7()'",
    """
CREATE FUNCTION credit_lock(p_tenant uuid) RETURNS credit_accounts LANGUAGE plpgsql AS $$
DECLARE account credit_accounts;
BEGIN
    SELECT * INTO account FROM credit_accounts WHERE tenant_id = p_tenant FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO credit_accounts (tenant_id, available, held, spent, outside, number, updated_at)
        VALUES (p_tenant, 0, 0, 0, 0, 0, clock_timestamp()) ON CONFLICT DO NOTHING;
        SELECT * INTO account FROM credit_accounts WHERE tenant_id = p_tenant FOR UPDATE;
    END IF;
    RETURN account;
END
$$
""",
    """
CREATE FUNCTION credit_notice(p_tenant uuid, p_kind text, p_key text, p_data jsonb, p_now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO billing_notices (id, tenant_id, kind, dedup_key, data, created_at)
    VALUES (credit_id(), p_tenant, p_kind, p_key, p_data, p_now)
    ON CONFLICT (tenant_id, dedup_key) DO NOTHING
$$
""",
    # writes an entry, and moves the account by its legs, and warns who falls low; the caller holds the lock
    """
CREATE FUNCTION credit_post(entry ledger_entries) RETURNS credit_accounts LANGUAGE plpgsql AS $$
DECLARE account credit_accounts; owned bigint;
BEGIN
    UPDATE credit_accounts
    SET available = credit_accounts.available + entry.available, held = credit_accounts.held + entry.held,
        spent = credit_accounts.spent + entry.spent, outside = credit_accounts.outside + entry.outside,
        number = credit_accounts.number + 1, updated_at = entry.created_at
    WHERE tenant_id = entry.tenant_id
    RETURNING * INTO account;
    entry.number := account.number;
    entry.balance_after := account.available + account.held;
    entry.id := coalesce(entry.id, credit_id());
    entry.unpaid := coalesce(entry.unpaid, 0);
    entry.metadata := coalesce(entry.metadata, '{}');
    INSERT INTO ledger_entries VALUES (entry.*);
    owned := entry.available + entry.held;
    IF owned = 0 THEN RETURN account; END IF;
    -- who locks the tenant may wait for our account: what cannot be written at once is written with the next entry
    UPDATE tenants SET credits_balance = entry.balance_after / 1000000
    WHERE id = (
        SELECT id FROM tenants
        WHERE id = entry.tenant_id AND credits_balance <> entry.balance_after / 1000000
        FOR NO KEY UPDATE SKIP LOCKED
    );
    IF owned < 0 AND entry.balance_after < account.warn_below AND entry.balance_after - owned >= account.warn_below THEN
        PERFORM credit_notice(
            entry.tenant_id, 'credits.low', 'credits.low:' || account.number,
            jsonb_build_object('balance', entry.balance_after, 'threshold', account.warn_below), entry.created_at);
    END IF;
    RETURN account;
END
$$
""",
    # takes an amount out of the lots: that of the reference first, then those over, then by priority and expiry
    """
CREATE FUNCTION credit_burn(p_tenant uuid, p_amount bigint, p_reference text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE lot record; part bigint; rest bigint := p_amount;
BEGIN
    IF rest = 0 THEN RETURN; END IF;
    FOR lot IN
        SELECT id, remaining FROM credit_grants WHERE tenant_id = p_tenant AND is_left
        ORDER BY reference IS NOT DISTINCT FROM p_reference AND p_reference IS NOT NULL DESC,
                 coalesce(expires_at <= p_now, false) DESC, priority, expires_at NULLS LAST, id
    LOOP
        part := least(lot.remaining, rest);
        UPDATE credit_grants SET remaining = remaining - part WHERE id = lot.id;
        rest := rest - part;
        EXIT WHEN rest = 0;
    END LOOP;
    IF rest > 0 THEN RAISE EXCEPTION 'the lots of tenant % hold less than its account', p_tenant; END IF;
END
$$
""",
    """
CREATE FUNCTION credit_expire(p_tenant uuid, p_now timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE account credit_accounts; lot record; part bigint; rest bigint; gone bigint := 0; entry ledger_entries;
BEGIN
    SELECT sum(remaining) INTO rest FROM credit_grants
    WHERE tenant_id = p_tenant AND is_left AND expires_at <= p_now;
    IF rest IS NULL THEN RETURN 0; END IF;
    account := credit_lock(p_tenant);
    -- calls under way were promised what is held, and lots that are over burn first
    SELECT sum(remaining) - account.held INTO rest FROM credit_grants
    WHERE tenant_id = p_tenant AND is_left AND expires_at <= p_now;
    FOR lot IN
        SELECT id, remaining, source, reference FROM credit_grants
        WHERE tenant_id = p_tenant AND is_left AND expires_at <= p_now
        ORDER BY priority DESC, expires_at DESC, id DESC
    LOOP
        EXIT WHEN rest <= 0;
        part := least(lot.remaining, rest);
        UPDATE credit_grants SET remaining = remaining - part WHERE id = lot.id;
        entry := NULL;
        entry.tenant_id := p_tenant; entry.kind := 'expire'; entry.created_at := p_now;
        entry.idempotency_key := 'expire:' || lot.id || ':' || (account.number + 1);
        entry.available := -part; entry.held := 0; entry.spent := 0; entry.outside := part;
        entry.grant_id := lot.id; entry.source := lot.source; entry.reference := lot.reference;
        account := credit_post(entry);
        rest := rest - part; gone := gone + part;
    END LOOP;
    RETURN gone;
END
$$
""",
    # the entry carries key, source, reference, user and words; its amount in `available`; false if it was granted before
    """
CREATE FUNCTION credit_grant(entry ledger_entries, p_priority int, p_expires timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM credit_lock(entry.tenant_id);
    IF EXISTS (
        SELECT FROM ledger_entries WHERE tenant_id = entry.tenant_id AND idempotency_key = entry.idempotency_key
    ) THEN RETURN false; END IF;
    entry.grant_id := credit_id();
    INSERT INTO credit_grants (id, tenant_id, source, reference, priority, amount, remaining, expires_at, created_at)
    VALUES (entry.grant_id, entry.tenant_id, entry.source, entry.reference, p_priority, entry.available,
            entry.available, p_expires, entry.created_at);
    entry.kind := 'grant'; entry.held := 0; entry.spent := 0; entry.outside := -entry.available;
    PERFORM credit_post(entry);
    RETURN true;
END
$$
""",
    # the entry carries kind (refund, adjust), key and words; what is to go in `outside`. What of it was there, -1 if done before
    """
CREATE FUNCTION credit_take(entry ledger_entries) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE account credit_accounts; wanted bigint := entry.outside; taken bigint;
BEGIN
    IF wanted < 0 THEN RAISE EXCEPTION 'what is to go cannot be less than nothing'; END IF;
    PERFORM credit_lock(entry.tenant_id);
    IF EXISTS (
        SELECT FROM ledger_entries WHERE tenant_id = entry.tenant_id AND idempotency_key = entry.idempotency_key
    ) THEN RETURN -1; END IF;
    PERFORM credit_expire(entry.tenant_id, entry.created_at);
    SELECT * INTO account FROM credit_accounts WHERE tenant_id = entry.tenant_id;
    taken := least(wanted, account.available);
    PERFORM credit_burn(entry.tenant_id, taken, entry.reference, entry.created_at);
    entry.available := -taken; entry.held := 0; entry.spent := 0; entry.outside := taken;
    entry.unpaid := wanted - taken;
    PERFORM credit_post(entry);
    RETURN taken;
END
$$
""",
    # the price that holds: the tenant's own before that for all, of each the one that took effect last
    """
CREATE FUNCTION credit_price(p_tenant uuid, p_kind text, p_name text, p_now timestamptz) RETURNS prices
LANGUAGE sql STABLE AS $$
    SELECT newest.* FROM (
        SELECT DISTINCT ON (tenant_id) * FROM prices
        WHERE kind = p_kind AND name = p_name AND effective_from <= p_now
          AND (tenant_id IS NULL OR tenant_id = p_tenant)
        ORDER BY tenant_id, effective_from DESC, number DESC
    ) newest WHERE NOT withdrawn ORDER BY tenant_id NULLS LAST LIMIT 1
$$
""",
    # why a run may not begin: a budget of it, or the balance, is used up, or has not what a parked run waits for; else null
    """
CREATE FUNCTION credit_start(
    p_tenant uuid, p_workflow uuid, p_key uuid, p_root uuid, p_enforced boolean, p_now timestamptz
) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE limited record; free bigint; wanted bigint; began date := date_trunc('month', p_now AT TIME ZONE 'UTC')::date;
BEGIN
    FOR limited IN
        SELECT id, scope, amount - held
               - CASE WHEN period = 'month' AND period_start < began THEN 0 ELSE spent END AS room
        FROM budgets
        WHERE tenant_id = p_tenant AND (
            scope = 'tenant' OR (scope = 'workflow' AND scope_id = p_workflow)
            OR (scope = 'api_key' AND scope_id = p_key) OR (scope = 'execution' AND scope_id = p_root)
        ) ORDER BY id
    LOOP
        SELECT min(parked.required) INTO wanted
        FROM parked_runs parked JOIN executions run ON run.id = parked.execution_id
        WHERE parked.tenant_id = p_tenant AND parked.reason = 'budget' AND parked.budget_id = limited.id
          AND run.status = 'paused' AND run.reason = 'budget';
        IF limited.room <= 0 OR wanted > limited.room THEN
            RETURN jsonb_build_object('reason', 'budget', 'budget_id', limited.id, 'scope', limited.scope,
                                      'available', limited.room, 'required', wanted);
        END IF;
    END LOOP;
    IF p_enforced THEN
        SELECT available INTO free FROM credit_accounts WHERE tenant_id = p_tenant;
        SELECT min(parked.required) INTO wanted
        FROM parked_runs parked JOIN executions run ON run.id = parked.execution_id
        WHERE parked.tenant_id = p_tenant AND parked.reason = 'credits'
          AND run.status = 'paused' AND run.reason = 'credits';
        IF coalesce(free, 0) <= 0 OR wanted > free THEN
            RETURN jsonb_build_object('reason', 'credits', 'available', coalesce(free, 0), 'required', wanted);
        END IF;
    END IF;
    RETURN NULL;
END
$$
""",
    *CALL_FUNCTIONS,
    """
CREATE FUNCTION credit_step_fee(
    p_tenant uuid, p_execution uuid, p_lineage int, p_step int, p_attempt int, p_name text, p_now timestamptz
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE price prices; entry ledger_entries;
BEGIN
    price := credit_price(p_tenant, 'step', '', p_now);
    IF price.per_call IS NULL OR price.per_call = 0 THEN RETURN 0; END IF;
    entry.tenant_id := p_tenant; entry.created_at := p_now; entry.usage_type := 'step'; entry.price_id := price.id;
    entry.idempotency_key := 'step:' || p_execution || '/' || p_lineage || '/' || p_step;
    entry.execution_id := p_execution; entry.lineage := p_lineage; entry.step_index := p_step;
    entry.attempt := p_attempt; entry.agent := p_name; entry.spent := ceil(price.per_call * 1000000)::bigint;
    PERFORM credit_settle(entry);
    RETURN entry.spent;
END
$$
""",
    # numbers in the order of the commits: who has seen a number has seen all that are lower
    """
CREATE FUNCTION prices_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('prices_in_order'));
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER prices_in_order BEFORE INSERT ON prices FOR EACH STATEMENT EXECUTE FUNCTION prices_in_order()
""",
)

#: What drops them again, in an order that nothing stands in the way of.
DROPS = (
    *CALL_DROPS,
    "DROP TRIGGER prices_in_order ON prices",
    "DROP FUNCTION prices_in_order()",
    "DROP FUNCTION credit_step_fee(uuid, uuid, int, int, int, text, timestamptz)",
    "DROP FUNCTION credit_price(uuid, text, text, timestamptz)",
    "DROP FUNCTION credit_take(ledger_entries)",
    "DROP FUNCTION credit_grant(ledger_entries, int, timestamptz)",
    "DROP FUNCTION credit_notice(uuid, text, text, jsonb, timestamptz)",
    "DROP FUNCTION credit_start(uuid, uuid, uuid, uuid, boolean, timestamptz)",
    "DROP FUNCTION credit_expire(uuid, timestamptz)",
    "DROP FUNCTION credit_burn(uuid, bigint, text, timestamptz)",
    "DROP FUNCTION credit_post(ledger_entries)",
    "DROP FUNCTION credit_lock(uuid)",
    "DROP FUNCTION credit_id()",
)

#: The tables of the documents, as they follow from the entries.
VIEWS = (
    """
CREATE VIEW transactions WITH (security_invoker = true) AS
SELECT id, tenant_id, number, user_id,
       CASE kind WHEN 'settle' THEN 'usage' WHEN 'expire' THEN 'expiry' WHEN 'adjust' THEN 'adjustment'
                 WHEN 'refund' THEN source
                 ELSE CASE source WHEN 'purchase' THEN 'topup' WHEN 'plan' THEN 'subscription' ELSE source END
       END AS type,
       available + held AS amount,
       balance_after - available - held AS credits_before,
       balance_after AS credits_after,
       CASE WHEN reference LIKE 'pi\\_%' THEN reference END AS stripe_payment_intent_id,
       metadata ->> 'stripe_customer_id' AS stripe_customer_id,
       metadata ->> 'payment_method' AS payment_method,
       coalesce(metadata ->> 'payment_status', CASE WHEN source = 'purchase' AND kind = 'grant' THEN 'succeeded' END)
           AS payment_status,
       reference, execution_id, description, metadata, created_at, created_at AS completed_at
FROM ledger_entries WHERE kind NOT IN ('reserve', 'release')
""",
    """
CREATE VIEW credit_usage WITH (security_invoker = true) AS
SELECT id, tenant_id, number, api_key_id, execution_id, workflow_id, spent AS credits_used, unpaid, usage_type,
       resource AS resource_type, NULL::uuid AS resource_id,
       NULL::bigint AS unit_price_cents,
       CASE WHEN usage_type = 'model' THEN coalesce(input_tokens, 0) + coalesce(output_tokens, 0) ELSE 1 END
           AS units_consumed,
       agent, input_tokens, cached_tokens, output_tokens, price_id, description, metadata, created_at
FROM ledger_entries WHERE kind = 'settle'
""",
)
