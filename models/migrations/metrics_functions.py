"""The functions and triggers that measure runs and steps (migration 0014), and take what changes out of its roll-ups.

They run in the transaction of what they measure, with the rights of its caller, so row security holds.

    duration_ms, provider_of, calls_of, steps_of   what is read of a run and its steps
    measure_broken_off  when a run ends, steps that it did not end have their rows
    measure_execution   the row of a run follows its status
    measure_failure     a run counts its failures
    measure_late_call   what is answered after its step was measured counts too
    unroll_execution, unroll_step   what changes is taken out of its roll-ups
"""

from __future__ import annotations

HELPERS = """
CREATE FUNCTION duration_ms(started timestamptz, ended timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(greatest((extract(epoch FROM ended - started) * 1000)::bigint, 0), 0)
$$;
CREATE FUNCTION provider_of(model text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN position('/' IN model) > 1 THEN left(split_part(model, '/', 1), 50) END
$$;
-- what those lock who write calls of a run, or what it used in the end
CREATE FUNCTION measuring(execution uuid) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('measuring ' || execution, 0)
$$;
-- what a step asked, in all its attempts
CREATE FUNCTION calls_of(execution uuid, line int, step int,
    OUT llm_calls bigint, OUT tool_calls bigint, OUT tokens bigint, OUT cost bigint, OUT model text
) LANGUAGE sql STABLE AS $$
    SELECT count(*) FILTER (WHERE kind = 'model'), count(*) FILTER (WHERE kind = 'tool'),
           coalesce(sum(input_tokens::bigint + output_tokens), 0)::bigint, coalesce(sum(j.cost), 0)::bigint,
           mode() WITHIN GROUP (ORDER BY name) FILTER (WHERE kind = 'model')
    FROM call_journal j WHERE j.execution_id = execution AND j.lineage = line AND j.step_index = step
$$;
-- what the steps of a run used so far
CREATE FUNCTION steps_of(execution uuid,
    OUT checkpoints bigint, OUT checkpoint_bytes bigint, OUT overhead_us bigint, OUT llm_calls bigint, OUT tool_calls bigint,
    OUT tokens bigint, OUT cost_micro bigint, OUT llm_model text
) LANGUAGE sql STABLE AS $$
    SELECT count(m.checkpoint_bytes), coalesce(sum(m.checkpoint_bytes), 0)::bigint, sum(m.checkpoint_overhead_us)::bigint,
           coalesce(sum(m.llm_calls), 0)::bigint, coalesce(sum(m.tool_calls), 0)::bigint,
           coalesce(sum(m.tokens_used), 0)::bigint, coalesce(sum(m.cost_micro), 0)::bigint,
           (SELECT a.llm_model FROM agent_metrics a WHERE a.execution_id = execution AND a.llm_model IS NOT NULL
            GROUP BY a.llm_model ORDER BY sum(a.llm_calls) DESC, a.llm_model LIMIT 1)
    FROM agent_metrics m WHERE m.execution_id = execution
$$
"""

# every change of a run's status, whoever makes it; in its transaction
MEASURE = """
-- steps that a run did not end, or that were broken off, have used something too
CREATE FUNCTION measure_broken_off(run executions) RETURNS void LANGUAGE sql AS $$
    INSERT INTO agent_metrics (id, tenant_id, agent_id, execution_id, workflow_id, framework, status, duration_ms,
                               llm_provider, llm_model, llm_calls, tokens_used, cost_micro, tool_calls, measured_at)
    SELECT gen_random_uuid(), a.tenant_id, a.id, a.execution_id, run.workflow_id, a.framework,
           CASE WHEN a.status IN ('failed', 'cancelled', 'rolled_back') THEN a.status
                WHEN run.status = 'failed' THEN 'failed' ELSE 'cancelled' END,
           duration_ms(a.started_at, coalesce(a.completed_at, run.updated_at)),
           provider_of(calls.model), calls.model, calls.llm_calls, calls.tokens, calls.cost, calls.tool_calls,
           coalesce(a.completed_at, run.updated_at)
    FROM agents a
    LEFT JOIN agent_metrics m ON m.agent_id = a.id
    CROSS JOIN LATERAL calls_of(a.execution_id, a.lineage, a.step_index) calls
    WHERE a.execution_id = run.id AND a.attempt > 0 AND a.status <> 'completed'
      -- those of parked steps, and the votes before a step began
      AND (a.status IN ('failed', 'cancelled', 'rolled_back') OR calls.llm_calls + calls.tool_calls > 0)
      AND (m.id IS NULL OR m.status <> 'completed')
    ON CONFLICT (agent_id) DO UPDATE
    SET status = excluded.status, duration_ms = excluded.duration_ms, llm_provider = excluded.llm_provider,
        llm_model = excluded.llm_model, llm_calls = excluded.llm_calls, tokens_used = excluded.tokens_used,
        cost_micro = excluded.cost_micro, tool_calls = excluded.tool_calls, measured_at = excluded.measured_at
$$;
CREATE FUNCTION measure_execution() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended CONSTANT boolean := NEW.status IN ('completed', 'failed', 'cancelled');
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO execution_metrics (id, tenant_id, execution_id, workflow_id, framework, status, retry_count,
                                       total_duration_ms, created_at, measured_at)
        VALUES (gen_random_uuid(), NEW.tenant_id, NEW.id, NEW.workflow_id, NEW.framework, NEW.status, NEW.retry_count,
                duration_ms(NEW.started_at, NEW.completed_at), NEW.created_at, NEW.updated_at);
        RETURN NULL;
    END IF;
    IF ended THEN
        -- a call that is just being written is seen here, or sees what is written here
        PERFORM pg_advisory_xact_lock(measuring(NEW.id));
        PERFORM measure_broken_off(NEW);
    END IF;
    UPDATE execution_metrics
    SET status = NEW.status, rollback_count = NEW.lineage, retry_count = NEW.retry_count, measured_at = NEW.updated_at,
        total_duration_ms = duration_ms(NEW.started_at, coalesce(NEW.completed_at, NEW.updated_at)),
        llm_model = coalesce(used.llm_model, execution_metrics.llm_model), total_llm_calls = used.llm_calls,
        total_tool_calls = used.tool_calls, total_tokens = used.tokens, cost_micro = used.cost_micro,
        checkpoint_count = used.checkpoints, checkpoint_bytes = used.checkpoint_bytes, checkpoint_overhead_us = used.overhead_us,
        consensus_overhead_ms = (
            SELECT sum(duration_ms(l.created_at, l.committed_at)) FROM consensus_logs l
            WHERE l.execution_id = NEW.id AND l.committed_at IS NOT NULL
        )
    FROM steps_of(NEW.id) used
    WHERE execution_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER measure_execution_made AFTER INSERT ON executions FOR EACH ROW EXECUTE FUNCTION measure_execution();
CREATE TRIGGER measure_execution_changed
AFTER UPDATE OF status, lineage, retry_count, started_at, completed_at ON executions FOR EACH ROW
WHEN ((OLD.status, OLD.lineage, OLD.retry_count, OLD.completed_at) IS DISTINCT FROM (NEW.status, NEW.lineage, NEW.retry_count, NEW.completed_at))
EXECUTE FUNCTION measure_execution();

CREATE FUNCTION measure_failure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE execution_metrics SET failure_count = failure_count + 1, failure_type = NEW.failure_type
    WHERE execution_id = NEW.execution_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER measure_failure AFTER INSERT ON failures FOR EACH ROW EXECUTE FUNCTION measure_failure();

-- a call whose step was broken off is answered, and paid for, when its run may be over
CREATE FUNCTION measure_late_call() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    step uuid;
    run executions;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(measuring(NEW.execution_id));
    SELECT m.id INTO step FROM agents a JOIN agent_metrics m ON m.agent_id = a.id
    WHERE a.execution_id = NEW.execution_id AND a.lineage = NEW.lineage AND a.step_index = NEW.step_index;
    IF step IS NULL THEN
        SELECT * INTO run FROM executions
        WHERE id = NEW.execution_id AND status IN ('completed', 'failed', 'cancelled');
        IF run.id IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM measure_broken_off(run);
    ELSE
        UPDATE agent_metrics m
        SET llm_provider = provider_of(calls.model), llm_model = calls.model, llm_calls = calls.llm_calls,
            tokens_used = calls.tokens, cost_micro = calls.cost, tool_calls = calls.tool_calls
        FROM calls_of(NEW.execution_id, NEW.lineage, NEW.step_index) calls
        WHERE m.id = step;
    END IF;
    UPDATE execution_metrics
    SET llm_model = used.llm_model, total_llm_calls = used.llm_calls, total_tool_calls = used.tool_calls,
        total_tokens = used.tokens, cost_micro = used.cost_micro
    FROM steps_of(NEW.execution_id) used
    WHERE execution_id = NEW.execution_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER measure_late_call AFTER INSERT ON call_journal FOR EACH ROW EXECUTE FUNCTION measure_late_call()
"""

# whoever changes what is contained in a roll-up takes it out of there; the next roll-up puts it in again
UNROLL = """
-- the roll-ups of a moment, in the order in which one locks them
CREATE FUNCTION rollups_at(moment timestamptz, OUT unit text, OUT began timestamptz, OUT in_all boolean) RETURNS SETOF record
LANGUAGE sql IMMUTABLE AS $$
    SELECT size, date_bin(stride, moment, '1970-01-01Z'), whole
    FROM (VALUES (1, 'day', interval '1 day', false), (2, 'hour', '1 hour', false), (3, 'total_day', '1 day', true),
                 (4, 'total_hour', '1 hour', true), (5, 'total_quarter', '15 minutes', true)) AS sizes (place, size, stride, whole)
    ORDER BY place
$$;
CREATE FUNCTION unroll_execution() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone execution_facts;
    rollup record;
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    workflow uuid;
BEGIN
    SELECT * INTO gone FROM execution_facts WHERE id = OLD.id;
    FOR rollup IN SELECT * FROM rollups_at(gone.at) LOOP
        UPDATE execution_rollups r
        SET executions = r.executions - gone.executions, timed = r.timed - gone.timed, duration_ms = r.duration_ms - gone.duration_ms,
            checkpoints = r.checkpoints - gone.checkpoints, checkpoint_bytes = r.checkpoint_bytes - gone.checkpoint_bytes,
            llm_calls = r.llm_calls - gone.llm_calls, tool_calls = r.tool_calls - gone.tool_calls, tokens = r.tokens - gone.tokens,
            cost_micro = r.cost_micro - gone.cost_micro, rollbacks = r.rollbacks - gone.rollbacks,
            failures = r.failures - gone.failures, retries = r.retries - gone.retries
        WHERE r.tenant_id = gone.tenant_id AND r.size = rollup.unit AND r.at = rollup.began
          AND r.workflow_id = CASE WHEN rollup.in_all THEN nobody ELSE gone.workflow_id END
          AND r.framework = CASE WHEN rollup.in_all THEN '' ELSE gone.framework END
          AND r.llm_model = CASE WHEN rollup.in_all THEN '' ELSE gone.llm_model END
          AND r.status = gone.status AND r.failure_type = gone.failure_type;
    END LOOP;
    -- the row of the whole tenant, then that of its kind
    FOREACH workflow IN ARRAY ARRAY[nobody, gone.workflow_id] LOOP
        UPDATE duration_rollups r SET executions = r.executions - 1
        WHERE r.tenant_id = gone.tenant_id AND r.workflow_id = workflow AND r.day = date_trunc('day', gone.at, 'UTC')
          AND r.status = gone.status AND r.bucket = gone.bucket
          AND (r.framework, r.llm_model) = (CASE WHEN workflow = gone.workflow_id THEN gone.framework ELSE '' END,
                                            CASE WHEN workflow = gone.workflow_id THEN gone.llm_model ELSE '' END);
    END LOOP;
    NEW.rolled := false;
    RETURN NEW;
END
$$;
CREATE TRIGGER unroll BEFORE UPDATE ON execution_metrics FOR EACH ROW WHEN (OLD.rolled) EXECUTE FUNCTION unroll_execution();

CREATE FUNCTION unroll_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone step_facts;
    rollup record;
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    SELECT * INTO gone FROM step_facts WHERE id = OLD.id;
    FOR rollup IN SELECT * FROM rollups_at(gone.at) LOOP
        UPDATE step_rollups r
        SET steps = r.steps - gone.steps, failed = r.failed - gone.failed, duration_ms = r.duration_ms - gone.duration_ms,
            checkpoints = r.checkpoints - gone.checkpoints, checkpoint_bytes = r.checkpoint_bytes - gone.checkpoint_bytes,
            llm_calls = r.llm_calls - gone.llm_calls, tool_calls = r.tool_calls - gone.tool_calls, tokens = r.tokens - gone.tokens,
            cost_micro = r.cost_micro - gone.cost_micro
        WHERE r.tenant_id = gone.tenant_id AND r.size = rollup.unit AND r.at = rollup.began
          AND r.workflow_id = CASE WHEN rollup.in_all THEN nobody ELSE gone.workflow_id END
          AND r.framework = CASE WHEN rollup.in_all THEN '' ELSE gone.framework END;
    END LOOP;
    NEW.rolled := false;
    RETURN NEW;
END
$$;
CREATE TRIGGER unroll BEFORE UPDATE ON agent_metrics FOR EACH ROW WHEN (OLD.rolled) EXECUTE FUNCTION unroll_step()
"""
