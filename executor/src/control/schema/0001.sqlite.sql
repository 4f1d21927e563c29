CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  number BIGINT UNIQUE,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  source TEXT,
  job_id TEXT,
  task_id TEXT,
  reason TEXT,
  detail TEXT NOT NULL
);
INSERT INTO sequence (name, value) VALUES ('fence', 0);
