"""Asks other engines what Plimsoll is asked, on the same files, and writes what it writes.

    peers.py ask ENGINE WAREHOUSE THREADS REPEATS    reads queries, writes times and answers
    peers.py write ENGINE FILE OUT                   writes a Parquet file again

One JSON object a line, as `time_queries` reads and writes them.
"""

import csv
import io
import json
import os
import sys
import time

ENGINE = sys.argv[2]
if sys.argv[1] == "ask":
    # Polars reads it when it is imported.
    os.environ["POLARS_MAX_THREADS"] = sys.argv[4]


def text(rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


class DuckDB:
    def __init__(self, warehouse, threads):
        import duckdb

        self.database = duckdb.connect(config={"threads": threads, "memory_limit": "8GB"})
        self.database.execute("SET TimeZone = 'UTC'")
        for name, files in (("requests", "raw/requests/date=*/*"), ("runs", "reports/runs/*")):
            self.database.execute(
                f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{warehouse}/{files}.parquet', hive_partitioning = false)"
            )

    def ask(self, query):
        return text(self.database.execute(query["duckdb"]).fetchall())


class ChDB:
    def __init__(self, warehouse, threads):
        from chdb import session

        self.session = session.Session()
        self.session.query(f"SET max_threads = {threads}")
        self.session.query("SET max_memory_usage = 8000000000")
        self.session.query("CREATE DATABASE IF NOT EXISTS w ENGINE = Atomic")
        self.session.query("USE w")
        for name, files in (("requests", "raw/requests/date=*/*"), ("runs", "reports/runs/*")):
            self.session.query(
                f"CREATE VIEW {name} AS SELECT * FROM file('{warehouse}/{files}.parquet', Parquet)"
            )

    def ask(self, query):
        return str(self.session.query(query["chdb"], "CSV"))


class Polars:
    def __init__(self, warehouse, _threads):
        import polars as pl

        scan = lambda files: pl.scan_parquet(f"{warehouse}/{files}.parquet", hive_partitioning=False)
        q, runs, c = scan("raw/requests/date=*/*"), scan("reports/runs/*"), pl.col
        n = pl.len().alias("n")
        slow = q.filter(c("ttft_ns") > 400_000_000)
        good = c("good").cast(pl.Float64).mean().alias("good")
        by_run = q.group_by("run_key", "stage").agg(
            n, c("ttft_ns").mean().alias("mean"), c("e2e_ns").max().alias("longest")
        )
        joined = q.join(runs.select("run_key", "model", c("started_at").dt.date().alias("day")), on="run_key")
        joined = joined.group_by("model", "day").agg(n, c("tpot_ns").mean().alias("mean"))
        in_range = c("e2e_ns").is_between(2_000_000_000, 3_000_000_000) & (c("prompt_tokens") > 2100)
        buckets = q.filter(c("status") == "ok").group_by((c("e2e_ns") // 100_000_000).alias("bucket")).agg(n)
        self.frames = {
            "count by status": q.group_by("status").agg(n).sort("status"),
            "one run": lambda v: q.filter(c("run_key") == v["run"]).select(n, c("ttft_ns").mean().alias("mean")),
            "range filters": q.filter(in_range).select(n, c("output_tokens").sum().alias("tokens")),
            "group by run and stage": by_run.select(
                n, c("n").sum().alias("all"), c("mean").mean(), c("longest").max()
            ),
            "exact p99 by stage": q.group_by("stage").agg(c("ttft_ns").quantile(0.99, "linear").round()).sort("stage"),
            "sketched p99 by run": q.group_by("run_key").agg(c("ttft_ns").quantile(0.99, "linear").alias("p")).select(
                n, c("p").mean()
            ),
            "join to runs, by model and day": joined.select(n, c("n").sum().alias("all"), c("mean").mean()),
            "top 20": q.filter(c("ttft_ns").is_not_null()).select("run_key", "request_id", "ttft_ns").sort(
                "ttft_ns", "run_key", "request_id", descending=[True, False, False]
            ).head(20),
            "tokens by class and status": q.group_by("workload_class", "status").agg(
                n, c("output_tokens").sum(), good
            ).sort("workload_class", "status"),
            "the last nights": lambda v: q.filter(c("run_key") >= v["recent"]).group_by("stage").agg(
                n, c("e2e_ns").mean()
            ).sort("stage"),
            "histogram": buckets.select(n, c("n").max().alias("most"), c("bucket").sum()),
            "runs with slow requests": slow.group_by("workload_class").agg(c("run_key").n_unique()).sort("workload_class"),
        }

    def ask(self, query):
        frame = self.frames[query["name"]]
        frame = frame(query) if callable(frame) else frame
        return text(frame.collect(engine="streaming").rows())


def ask(engine, warehouse, threads, repeats):
    engine = {"duckdb": DuckDB, "chdb": ChDB, "polars": Polars}[engine](warehouse, int(threads))
    for line in sys.stdin:
        query = json.loads(line)
        times = []
        for _ in range(int(repeats) + 1):
            began = time.perf_counter()
            answer = engine.ask(query)
            times.append((time.perf_counter() - began) * 1e3)
        told = {"name": query["name"], "first_ms": times[0], "again_ms": times[1:], "answer": answer}
        print(json.dumps(told), flush=True)


def write(engine, file, out):
    import pyarrow.parquet as pq

    requests = pq.read_table(file)
    if engine == "duckdb":
        import duckdb

        database = duckdb.connect(config={"threads": 2})
        began = time.perf_counter()
        database.sql(f"COPY requests TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)")
    else:
        began = time.perf_counter()
        pq.write_table(requests, out, compression="zstd", compression_level=3)
    seconds = time.perf_counter() - began
    print(json.dumps({"rows": len(requests), "seconds": seconds, "bytes": os.path.getsize(out)}))


if __name__ == "__main__":
    {"ask": ask, "write": write}[sys.argv[1]](*sys.argv[2:])
