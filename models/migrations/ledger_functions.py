"""The functions that move credits (migration 0012). Every call of a model pays for two of them, so each is one round trip.

All of them lock the tenant's account before they read anything that they decide by: the movements of a tenant happen one
after the other, however many workers ask at once. They run with the rights of their caller, so row security holds.

    credit_reserve   the most that a call can cost is held, or the reason why it cannot be
    credit_settle    what a call did cost is spent, its hold is gone
    credit_release   a hold is gone, and nothing was spent
    credit_grant     a lot of credits comes in
    credit_take      credits go out again: a refund, an adjustment
    credit_expire    lots whose time is over go, but for what is held
"""

from __future__ import annotations

FUNCTIONS = (
    # ids that sort by time, for what the functions make themselves
    """
CREATE FUNCTION credit_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1), 'hex')::uuid
$$
""",
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
    # writes an entry, and moves the account by its legs; the caller holds the lock
    """
CREATE FUNCTION credit_post(entry ledger_entries) RETURNS credit_accounts LANGUAGE plpgsql AS $$
DECLARE account credit_accounts;
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
    IF entry.available + entry.held <> 0 THEN
        UPDATE tenants SET credits_balance = entry.balance_after / 1000000
        WHERE id = entry.tenant_id AND credits_balance <> entry.balance_after / 1000000;
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
        SELECT id, remaining FROM credit_grants WHERE tenant_id = p_tenant AND remaining > 0
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
    WHERE tenant_id = p_tenant AND remaining > 0 AND expires_at <= p_now;
    IF rest IS NULL THEN RETURN 0; END IF;
    account := credit_lock(p_tenant);
    -- calls under way were promised what is held, and lots that are over burn first
    SELECT sum(remaining) - account.held INTO rest FROM credit_grants
    WHERE tenant_id = p_tenant AND remaining > 0 AND expires_at <= p_now;
    FOR lot IN
        SELECT id, remaining, source, reference FROM credit_grants
        WHERE tenant_id = p_tenant AND remaining > 0 AND expires_at <= p_now
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
    # the budgets that a call of an execution counts against, with their period as of now
    """
CREATE FUNCTION credit_budgets(p_tenant uuid, p_execution uuid, p_now timestamptz) RETURNS SETOF budgets
LANGUAGE plpgsql AS $$
DECLARE run record; began date := date_trunc('month', p_now AT TIME ZONE 'UTC')::date;
BEGIN
    IF NOT EXISTS (SELECT FROM budgets WHERE tenant_id = p_tenant) THEN RETURN; END IF;
    SELECT workflow_id, api_key_id, coalesce(root_id, id) AS root INTO run FROM executions WHERE id = p_execution;
    UPDATE budgets SET spent = 0, period_start = began
    WHERE tenant_id = p_tenant AND period = 'month' AND period_start < began;
    RETURN QUERY SELECT * FROM budgets
    WHERE tenant_id = p_tenant AND (
        scope = 'tenant' OR (scope = 'workflow' AND scope_id = run.workflow_id)
        OR (scope = 'api_key' AND scope_id = run.api_key_id) OR (scope = 'execution' AND scope_id = run.root)
    ) ORDER BY id;
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
    """
CREATE FUNCTION credit_release_hold(hold credit_holds, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE entry ledger_entries;
BEGIN
    DELETE FROM credit_holds WHERE id = hold.id;
    IF NOT FOUND THEN RETURN; END IF;
    UPDATE budgets SET held = held - hold.budgeted WHERE id = ANY (hold.budgets);
    IF hold.amount = 0 THEN RETURN; END IF;
    entry.tenant_id := hold.tenant_id; entry.kind := 'release'; entry.created_at := p_now;
    entry.idempotency_key := 'release:' || hold.id; entry.hold_id := hold.id;
    entry.available := hold.amount; entry.held := -hold.amount; entry.spent := 0; entry.outside := 0;
    entry.execution_id := hold.execution_id; entry.lineage := hold.lineage; entry.step_index := hold.step_index;
    entry.request_hash := hold.request_hash; entry.occurrence := hold.occurrence; entry.attempt := hold.attempt;
    PERFORM credit_post(entry);
END
$$
""",
    """
CREATE FUNCTION credit_release(
    p_tenant uuid, p_execution uuid, p_lineage int, p_step int, p_hash text, p_occurrence int, p_now timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE hold credit_holds;
BEGIN
    PERFORM credit_lock(p_tenant);
    SELECT * INTO hold FROM credit_holds
    WHERE tenant_id = p_tenant AND execution_id = p_execution AND lineage = p_lineage AND step_index = p_step
      AND request_hash = p_hash AND occurrence = p_occurrence;
    IF NOT FOUND THEN RETURN false; END IF;
    PERFORM credit_release_hold(hold, p_now);
    PERFORM credit_expire(p_tenant, p_now);
    RETURN true;
END
$$
""",
    # outcome: held, credits, budget; with what is missing, and which budget does not allow it
    """
CREATE FUNCTION credit_reserve(
    p_tenant uuid, p_execution uuid, p_lineage int, p_step int, p_hash text, p_occurrence int, p_attempt int,
    p_amount bigint, p_enforced boolean, p_now timestamptz,
    OUT outcome text, OUT budget uuid, OUT missing bigint
) LANGUAGE plpgsql AS $$
DECLARE account credit_accounts; hold credit_holds; dead credit_holds; limited budgets; entry ledger_entries;
        ids uuid[] := '{}';
BEGIN
    account := credit_lock(p_tenant);
    FOR dead IN
        SELECT * FROM credit_holds
        WHERE tenant_id = p_tenant AND execution_id = p_execution AND lineage = p_lineage AND step_index = p_step
          AND attempt <= p_attempt
    LOOP
        IF dead.request_hash = p_hash AND dead.occurrence = p_occurrence THEN
            IF dead.budgeted >= p_amount AND (dead.amount >= p_amount OR NOT p_enforced) THEN
                -- an attempt that died had it held: the same call takes it over
                UPDATE credit_holds SET attempt = p_attempt WHERE id = dead.id;
                outcome := 'held'; missing := 0;
            ELSE
                PERFORM credit_release_hold(dead, p_now);
            END IF;
        ELSIF dead.attempt < p_attempt THEN
            PERFORM credit_release_hold(dead, p_now);
        END IF;
    END LOOP;
    IF outcome IS NOT NULL THEN RETURN; END IF;
    PERFORM credit_expire(p_tenant, p_now);
    SELECT * INTO account FROM credit_accounts WHERE tenant_id = p_tenant;
    FOR limited IN SELECT * FROM credit_budgets(p_tenant, p_execution, p_now) LOOP
        IF limited.spent + limited.held + p_amount > limited.amount THEN
            outcome := 'budget'; budget := limited.id;
            missing := limited.spent + limited.held + p_amount - limited.amount;
            PERFORM credit_notice(
                p_tenant, 'budget.exceeded',
                'budget.exceeded:' || limited.id || ':' || limited.period_start || ':' || limited.amount,
                jsonb_build_object('budget_id', limited.id, 'scope', limited.scope, 'scope_id', limited.scope_id,
                                   'amount', limited.amount, 'spent', limited.spent, 'execution_id', p_execution),
                p_now);
            RETURN;
        END IF;
        ids := ids || limited.id;
    END LOOP;
    IF p_enforced AND account.available < p_amount THEN
        outcome := 'credits'; missing := p_amount - account.available;
        PERFORM credit_notice(
            p_tenant, 'credits.exhausted',
            'credits.exhausted:' || (SELECT count(*) FROM credit_grants WHERE tenant_id = p_tenant),
            jsonb_build_object('available', account.available, 'required', p_amount, 'execution_id', p_execution),
            p_now);
        RETURN;
    END IF;
    hold.id := credit_id(); hold.tenant_id := p_tenant; hold.execution_id := p_execution; hold.lineage := p_lineage;
    hold.step_index := p_step; hold.request_hash := p_hash; hold.occurrence := p_occurrence; hold.attempt := p_attempt;
    hold.amount := least(p_amount, account.available); hold.budgeted := p_amount; hold.budgets := ids;
    hold.created_at := p_now;
    INSERT INTO credit_holds VALUES (hold.*);
    UPDATE budgets SET held = held + p_amount WHERE id = ANY (ids);
    IF hold.amount > 0 THEN
        entry.tenant_id := p_tenant; entry.kind := 'reserve'; entry.created_at := p_now;
        entry.idempotency_key := 'hold:' || hold.id; entry.hold_id := hold.id;
        entry.available := -hold.amount; entry.held := hold.amount; entry.spent := 0; entry.outside := 0;
        entry.execution_id := p_execution; entry.lineage := p_lineage; entry.step_index := p_step;
        entry.request_hash := p_hash; entry.occurrence := p_occurrence; entry.attempt := p_attempt;
        PERFORM credit_post(entry);
    END IF;
    outcome := 'held'; missing := 0;
END
$$
""",
    # the entry carries what the call was: its key, its cost in `spent`, its usage; true if it was not settled before
    """
CREATE FUNCTION credit_settle(entry ledger_entries) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE account credit_accounts; hold credit_holds; limited budgets; run record; owned bigint; paid bigint;
        cost bigint := entry.spent; mark int;
BEGIN
    account := credit_lock(entry.tenant_id);
    SELECT * INTO hold FROM credit_holds
    WHERE tenant_id = entry.tenant_id AND execution_id = entry.execution_id AND lineage = entry.lineage
      AND step_index = entry.step_index AND request_hash = entry.request_hash AND occurrence = entry.occurrence;
    hold.amount := coalesce(hold.amount, 0);
    IF EXISTS (
        SELECT FROM ledger_entries WHERE tenant_id = entry.tenant_id AND idempotency_key = entry.idempotency_key
    ) THEN
        IF hold.id IS NOT NULL THEN PERFORM credit_release_hold(hold, entry.created_at); END IF;
        RETURN false;
    END IF;
    SELECT workflow_id, api_key_id, coalesce(root_id, id) AS root INTO run
    FROM executions WHERE id = entry.execution_id;
    owned := account.available + hold.amount;
    paid := least(cost, owned);
    entry.kind := 'settle'; entry.hold_id := hold.id;
    entry.held := -hold.amount; entry.available := hold.amount - paid; entry.outside := paid - cost;
    entry.unpaid := cost - paid;
    entry.workflow_id := run.workflow_id; entry.api_key_id := run.api_key_id; entry.root_id := run.root;
    IF hold.id IS NOT NULL THEN
        DELETE FROM credit_holds WHERE id = hold.id;
        UPDATE budgets SET held = held - hold.budgeted WHERE id = ANY (hold.budgets);
    END IF;
    FOR limited IN SELECT * FROM credit_budgets(entry.tenant_id, entry.execution_id, entry.created_at) LOOP
        UPDATE budgets SET spent = spent + cost WHERE id = limited.id;
        FOREACH mark IN ARRAY limited.thresholds LOOP
            IF limited.spent * 100 < mark * limited.amount AND (limited.spent + cost) * 100 >= mark * limited.amount THEN
                PERFORM credit_notice(
                    entry.tenant_id, 'budget.threshold',
                    'budget.threshold:' || limited.id || ':' || limited.period_start || ':' || limited.amount || ':' || mark,
                    jsonb_build_object('budget_id', limited.id, 'scope', limited.scope, 'scope_id', limited.scope_id,
                                       'amount', limited.amount, 'spent', limited.spent + cost, 'threshold', mark),
                    entry.created_at);
            END IF;
        END LOOP;
    END LOOP;
    PERFORM credit_burn(entry.tenant_id, paid, NULL, entry.created_at);
    account := credit_post(entry);
    owned := entry.available + entry.held;
    IF account.warn_below IS NOT NULL AND account.available + account.held < account.warn_below
       AND account.available + account.held - owned >= account.warn_below THEN
        PERFORM credit_notice(
            entry.tenant_id, 'credits.low', 'credits.low:' || account.number,
            jsonb_build_object('balance', account.available + account.held, 'threshold', account.warn_below),
            entry.created_at);
    END IF;
    RETURN true;
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
)

#: What drops them again, in an order that nothing stands in the way of.
DROPS = (
    "DROP FUNCTION credit_take(ledger_entries)",
    "DROP FUNCTION credit_grant(ledger_entries, int, timestamptz)",
    "DROP FUNCTION credit_settle(ledger_entries)",
    "DROP FUNCTION credit_reserve(uuid, uuid, int, int, text, int, int, bigint, boolean, timestamptz)",
    "DROP FUNCTION credit_release(uuid, uuid, int, int, text, int, timestamptz)",
    "DROP FUNCTION credit_release_hold(credit_holds, timestamptz)",
    "DROP FUNCTION credit_notice(uuid, text, text, jsonb, timestamptz)",
    "DROP FUNCTION credit_budgets(uuid, uuid, timestamptz)",
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
