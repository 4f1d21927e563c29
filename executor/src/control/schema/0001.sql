-- What holds of the store itself: one row each.
CREATE TABLE control (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

-- Who did what, until it is in the warehouse. Numbers have no gaps; they are given in the order in
-- which rows go there.
CREATE TABLE sequence (
  name TEXT PRIMARY KEY,
  value BIGINT NOT NULL
);

-- One row per job that was accepted. Moments are microseconds since the Unix epoch.
CREATE TABLE job (
  id TEXT PRIMARY KEY,
  spec TEXT NOT NULL,
  state TEXT NOT NULL,
  priority BIGINT NOT NULL,
  verdict TEXT,
  triggered_by TEXT NOT NULL,
  trigger_kind TEXT NOT NULL,
  schedule_id TEXT,
  tick_at BIGINT,
  idempotency_key TEXT UNIQUE,
  spec_digest TEXT NOT NULL,
  traceparent TEXT,
  queued_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  deadline_at BIGINT,
  cancelled_at BIGINT,
  cancelled_by TEXT,
  published BIGINT NOT NULL DEFAULT 0,
  UNIQUE (schedule_id, tick_at)
);
CREATE INDEX job_by_age ON job (queued_at);
CREATE INDEX job_to_publish ON job (finished_at) WHERE state = 'done' AND published = 0;
CREATE INDEX job_by_deadline ON job (deadline_at) WHERE state <> 'done';

-- One row per task. `lane` is what a task may have to itself: where `exclusive` is 1, no other task of
-- the lane is leased with it. `turn` is 1 for the one task of a lane that may be claimed next.
CREATE TABLE task (
  id TEXT PRIMARY KEY,
  job_id TEXT NOT NULL REFERENCES job (id),
  number BIGINT NOT NULL,
  pillar TEXT NOT NULL,
  suite TEXT NOT NULL,
  lane TEXT NOT NULL,
  exclusive BIGINT NOT NULL,
  loads BIGINT NOT NULL,
  state TEXT NOT NULL,
  turn BIGINT NOT NULL DEFAULT 0,
  priority BIGINT NOT NULL,
  due_fence BIGINT NOT NULL,
  not_before BIGINT NOT NULL,
  attempt BIGINT NOT NULL DEFAULT 0,
  max_attempts BIGINT NOT NULL,
  fence BIGINT,
  worker TEXT,
  host TEXT,
  lease_until BIGINT,
  progress TEXT,
  verdict TEXT,
  run_id TEXT,
  reason TEXT,
  started_at BIGINT,
  finished_at BIGINT,
  UNIQUE (job_id, number)
);
CREATE INDEX task_open ON task (state, priority)
  WHERE state <> 'done' AND state <> 'dead' AND state <> 'cancelled';
CREATE INDEX task_due ON task (due_fence);
CREATE INDEX task_turn_due ON task (loads, due_fence) WHERE turn = 1;
CREATE INDEX task_turn_class ON task (loads, priority DESC, due_fence) WHERE turn = 1;
CREATE INDEX task_lane_due ON task (lane, due_fence) WHERE state = 'queued';
CREATE INDEX task_lane_class ON task (lane, priority DESC, due_fence) WHERE state = 'queued';
CREATE INDEX task_lane_later ON task (lane, not_before) WHERE state = 'queued';
CREATE INDEX task_lane_turn ON task (lane) WHERE turn = 1;
CREATE INDEX task_lane_leased ON task (lane) WHERE state = 'leased';
CREATE INDEX task_settling ON task (due_fence) WHERE state = 'settling';
CREATE INDEX task_lease ON task (lease_until) WHERE state = 'leased';
-- What the claim sees to, and these refuse in any case: two exclusive tasks of one lane, and two
-- performance loads of one host.
CREATE UNIQUE INDEX task_one_exclusive ON task (lane) WHERE state = 'leased' AND exclusive = 1;
CREATE UNIQUE INDEX task_one_load ON task (host) WHERE state = 'leased' AND loads = 1;

-- One row per schedule. `next_at` is its next tick; null where there is none any more.
CREATE TABLE schedule (
  name TEXT PRIMARY KEY,
  cron TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  jitter_us BIGINT NOT NULL,
  overlap TEXT NOT NULL,
  catch_up TEXT NOT NULL,
  job TEXT NOT NULL,
  created_by TEXT NOT NULL,
  paused_by TEXT,
  last_tick_at BIGINT,
  next_at BIGINT
);
CREATE INDEX job_of_schedule ON job (schedule_id) WHERE state <> 'done';

INSERT INTO control (name, value) VALUES ('paused', '');
INSERT INTO sequence (name, value) VALUES ('event', 0);
