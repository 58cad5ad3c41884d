"""The functions that move credits for calls (migration 0012): hold, settle, release. Every call pays for two of them.

They look up in one statement what else there is to do, and mostly there is nothing: no hold of a dead attempt, no lot whose
time is over, no budget.
"""

from __future__ import annotations

CALL_FUNCTIONS = (
    # the budgets that a call of an execution counts against, as of now: in a new month nothing is spent yet
    """
CREATE FUNCTION credit_budgets(p_tenant uuid, p_execution uuid, p_now timestamptz) RETURNS SETOF budgets
LANGUAGE plpgsql AS $$
DECLARE run record; began date := date_trunc('month', p_now AT TIME ZONE 'UTC')::date; limited budgets;
BEGIN
    SELECT workflow_id, api_key_id, coalesce(root_id, id) AS root INTO run FROM executions WHERE id = p_execution;
    FOR limited IN
        SELECT * FROM budgets WHERE tenant_id = p_tenant AND (
            scope = 'tenant' OR (scope = 'workflow' AND scope_id = run.workflow_id)
            OR (scope = 'api_key' AND scope_id = run.api_key_id)
            OR (scope = 'execution' AND scope_id IN (run.root, p_execution))
        ) ORDER BY id
    LOOP
        IF limited.period = 'month' AND limited.period_start < began THEN
            limited.spent := 0; limited.period_start := began;
        END IF;
        RETURN NEXT limited;
    END LOOP;
END
$$
""",
    # what a hold held is free again; the hold itself is deleted already
    """
CREATE FUNCTION credit_free(hold credit_holds, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE entry ledger_entries;
BEGIN
    IF cardinality(hold.budgets) > 0 THEN
        UPDATE budgets SET held = held - hold.budgeted WHERE id = ANY (hold.budgets);
    END IF;
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
    # without an attempt whoever holds it; else not what a later attempt has taken over
    """
CREATE FUNCTION credit_release(
    p_tenant uuid, p_execution uuid, p_lineage int, p_step int, p_hash text, p_occurrence int, p_attempt int,
    p_now timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE hold credit_holds;
BEGIN
    PERFORM credit_lock(p_tenant);
    DELETE FROM credit_holds
    WHERE tenant_id = p_tenant AND execution_id = p_execution AND lineage = p_lineage AND step_index = p_step
      AND request_hash = p_hash AND occurrence = p_occurrence AND (p_attempt IS NULL OR attempt <= p_attempt)
    RETURNING * INTO hold;
    IF NOT FOUND THEN RETURN false; END IF;
    PERFORM credit_free(hold, p_now);
    PERFORM credit_expire(p_tenant, p_now);
    RETURN true;
END
$$
""",
    # holds of attempts before this one go, but for one of the same call that is large enough: that is taken over
    """
CREATE FUNCTION credit_take_over(
    p_tenant uuid, p_execution uuid, p_lineage int, p_step int, p_hash text, p_occurrence int, p_attempt int,
    p_amount bigint, p_enforced boolean, p_now timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE dead credit_holds; taken boolean := false;
BEGIN
    FOR dead IN
        SELECT * FROM credit_holds
        WHERE tenant_id = p_tenant AND execution_id = p_execution AND lineage = p_lineage AND step_index = p_step
    LOOP
        IF dead.request_hash = p_hash AND dead.occurrence = p_occurrence THEN
            IF dead.attempt > p_attempt
               OR (dead.budgeted >= p_amount AND (dead.amount >= p_amount OR NOT p_enforced)) THEN
                -- an attempt that has been overtaken gets the hold of the newer one, and is told elsewhere that it is over
                UPDATE credit_holds SET attempt = greatest(attempt, p_attempt) WHERE id = dead.id;
                taken := true;
                CONTINUE;
            END IF;
        ELSIF dead.attempt >= p_attempt THEN
            CONTINUE;
        END IF;
        DELETE FROM credit_holds WHERE id = dead.id;
        PERFORM credit_free(dead, p_now);
    END LOOP;
    RETURN taken;
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
DECLARE account credit_accounts; hold credit_holds; limited budgets; entry ledger_entries; look record;
        ids uuid[] := '{}'; began date := date_trunc('month', p_now AT TIME ZONE 'UTC')::date;
BEGIN
    IF p_amount < 0 THEN RAISE EXCEPTION 'a call cannot cost less than nothing'; END IF;
    -- a crash of the database may take the hold with it, and nothing else: its call is settled without one
    SET LOCAL synchronous_commit = off;
    account := credit_lock(p_tenant);
    SELECT EXISTS (
               SELECT FROM credit_holds
               WHERE execution_id = p_execution AND lineage = p_lineage AND step_index = p_step
                 AND (attempt < p_attempt OR (request_hash = p_hash AND occurrence = p_occurrence))
           ) AS dead,
           EXISTS (
               SELECT FROM credit_grants WHERE tenant_id = p_tenant AND is_left AND expires_at <= p_now
           ) AS over,
           EXISTS (SELECT FROM budgets WHERE tenant_id = p_tenant) AS limited
    INTO look;
    IF look.dead AND credit_take_over(p_tenant, p_execution, p_lineage, p_step, p_hash, p_occurrence, p_attempt,
                                      p_amount, p_enforced, p_now) THEN
        outcome := 'held'; missing := 0;
        RETURN;
    END IF;
    IF look.over THEN PERFORM credit_expire(p_tenant, p_now); END IF;
    IF look.dead OR look.over THEN
        SELECT * INTO account FROM credit_accounts WHERE tenant_id = p_tenant;
    END IF;
    IF look.limited THEN
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
    END IF;
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
    IF cardinality(ids) > 0 THEN
        UPDATE budgets
        SET held = held + p_amount,
            spent = CASE WHEN period = 'month' AND period_start < began THEN 0 ELSE spent END,
            period_start = CASE WHEN period = 'month' THEN greatest(period_start, began) ELSE period_start END
        WHERE id = ANY (ids);
    END IF;
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
    # what was spent counts against the budgets of now, what was held is gone from those that held it
    """
CREATE FUNCTION credit_count(entry ledger_entries, hold credit_holds) RETURNS void LANGUAGE plpgsql AS $$
DECLARE limited budgets; mark int; cost bigint := entry.spent; counted uuid[];
        began date := date_trunc('month', entry.created_at AT TIME ZONE 'UTC')::date;
BEGIN
    counted := ARRAY(SELECT id FROM credit_budgets(entry.tenant_id, entry.execution_id, entry.created_at));
    FOR limited IN
        UPDATE budgets
        SET held = held - CASE WHEN id = ANY (hold.budgets) THEN hold.budgeted ELSE 0 END,
            spent = CASE WHEN period = 'month' AND period_start < began THEN 0 ELSE spent END
                    + CASE WHEN id = ANY (counted) THEN cost ELSE 0 END,
            period_start = CASE WHEN period = 'month' THEN greatest(period_start, began) ELSE period_start END
        WHERE id = ANY (counted || hold.budgets) RETURNING *
    LOOP
        CONTINUE WHEN limited.id <> ALL (counted);
        FOREACH mark IN ARRAY limited.thresholds LOOP
            IF (limited.spent - cost) * 100::numeric < mark * limited.amount::numeric
               AND limited.spent * 100::numeric >= mark * limited.amount::numeric THEN
                PERFORM credit_notice(
                    entry.tenant_id, 'budget.threshold',
                    'budget.threshold:' || limited.id || ':' || limited.period_start || ':' || limited.amount || ':' || mark,
                    jsonb_build_object('budget_id', limited.id, 'scope', limited.scope, 'scope_id', limited.scope_id,
                                       'amount', limited.amount, 'spent', limited.spent, 'threshold', mark),
                    entry.created_at);
            END IF;
        END LOOP;
    END LOOP;
END
$$
""",
    # the entry carries what the call was: its key, its cost in `spent`, its usage; true if it was not settled before
    """
CREATE FUNCTION credit_settle(entry ledger_entries) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE account credit_accounts; hold credit_holds; look record; paid bigint; cost bigint := entry.spent;
BEGIN
    IF cost < 0 THEN RAISE EXCEPTION 'a call cannot cost less than nothing'; END IF;
    account := credit_lock(entry.tenant_id);
    DELETE FROM credit_holds
    WHERE tenant_id = entry.tenant_id AND execution_id = entry.execution_id AND lineage = entry.lineage
      AND step_index = entry.step_index AND request_hash = entry.request_hash AND occurrence = entry.occurrence
    RETURNING * INTO hold;
    SELECT run.workflow_id, run.api_key_id, coalesce(run.root_id, run.id) AS root,
           EXISTS (
               SELECT FROM ledger_entries
               WHERE tenant_id = entry.tenant_id AND idempotency_key = entry.idempotency_key
           ) AS settled,
           EXISTS (SELECT FROM budgets WHERE tenant_id = entry.tenant_id) AS limited
    INTO look FROM (SELECT) AS one LEFT JOIN executions AS run ON run.id = entry.execution_id;
    IF look.settled THEN
        IF hold.id IS NOT NULL THEN PERFORM credit_free(hold, entry.created_at); END IF;
        RETURN false;
    END IF;
    IF look.limited THEN PERFORM credit_count(entry, hold); END IF;
    hold.amount := coalesce(hold.amount, 0);
    paid := least(cost, account.available + hold.amount);
    entry.kind := 'settle'; entry.hold_id := hold.id;
    entry.held := -hold.amount; entry.available := hold.amount - paid; entry.outside := paid - cost;
    entry.unpaid := cost - paid;
    entry.workflow_id := look.workflow_id; entry.api_key_id := look.api_key_id; entry.root_id := look.root;
    PERFORM credit_burn(entry.tenant_id, paid, NULL, entry.created_at);
    PERFORM credit_post(entry);
    RETURN true;
END
$$
""",
)

#: What drops them again.
CALL_DROPS = (
    "DROP FUNCTION credit_settle(ledger_entries)",
    "DROP FUNCTION credit_count(ledger_entries, credit_holds)",
    "DROP FUNCTION credit_reserve(uuid, uuid, int, int, text, int, int, bigint, boolean, timestamptz)",
    "DROP FUNCTION credit_take_over(uuid, uuid, int, int, text, int, int, bigint, boolean, timestamptz)",
    "DROP FUNCTION credit_release(uuid, uuid, int, int, text, int, int, timestamptz)",
    "DROP FUNCTION credit_free(credit_holds, timestamptz)",
    "DROP FUNCTION credit_budgets(uuid, uuid, timestamptz)",
)
