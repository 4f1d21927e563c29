"""Each answer, worked out from the rows.

Written from what the answers' documentation says, and not from their SQL: groups are dictionaries,
series are lists in order of time.
"""

import datetime
import math
from collections import defaultdict

import polars as pl


def in_order(frame):
    """Rows by start; of those that began at once, by id."""
    return frame.sort("started_at", "run_id").to_dicts()


def groups(rows, *keys):
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[key] for key in keys)].append(row)
    return found


def pick(row, *names):
    return {name: row[name] for name in names}


def peak_rps(tables):
    runs = tables.with_envelopes(tables.measured().filter(pl.col("peak_goodput_rps").is_not_null()))
    runs = runs.with_columns(day=pl.col("started_at").dt.date(), revision="model_revision")
    best = []
    for rows in groups(in_order(runs), "model", "comparable_key", "day").values():
        # Of equals the last: max keeps the first, so the order is turned round.
        best.append(max(reversed(rows), key=lambda row: row["peak_goodput_rps"]))
    columns = "model revision engine gpu_sku gpu_count comparable_key day peak_goodput_rps"
    columns += " limit_found peak_goodput_rps_low peak_goodput_rps_high sustainable_rps sustainable_rps_low"
    columns += " sustainable_rps_high run_id"
    return [pick(row, *columns.split()) for row in best]


LIMIT_FINDING = ["step", "ramp", "peak", "max_throughput"]

# All others of a run are those of its headline's stage.
OF_WHOLE_RUNS = ["peak_goodput_rps", "peak_throughput_rps", "sustainable_rps", "floor_ttft_ms"]
OF_WHOLE_RUNS += ["recovery_ms", "recovery_rps", "cost_usd"]


def followed(row):
    """A run in which no load met the SLO, as it counts over time: with a peak of 0."""
    nothing_met = row["verdict"] == "blocked" and row["profile"] in LIMIT_FINDING
    return row | {"peak_goodput_rps": row["peak_goodput_rps"] or 0.0} if nothing_met else row


def headlines(tables):
    """The row of the stage that each run's headline is about, by run."""
    stages = {(row["run_key"], row["stage"]): row for row in tables["reports/stages"].to_dicts()}
    runs = tables["reports/runs"].to_dicts()
    return {row["run_key"]: stages.get((row["run_key"], row["headline_stage"])) for row in runs}


def headline_metrics():
    rates = {"peak_goodput_rps": "req/s", "peak_throughput_rps": "req/s"}
    rates |= {"sustainable_rps": "req/s", "output_tokens_per_s": "tokens/s"}
    rates |= {"slo_attainment": "share", "recovery_rps": "req/s"}
    for name, unit in rates.items():
        yield name, unit, True, lambda row, name=name: row[name]
    for name, unit in {"error_rate": "share", "cost_usd": "USD"}.items():
        yield name, unit, False, lambda row, name=name: row[name]
    durations = ["floor_ttft_ns", "recovery_ns"]
    durations += [f"{what}_ns_p{p}" for what in ("ttft", "tpot", "itl", "e2e") for p in (50, 90, 95, 99)]
    for column in durations:
        what, _, percentile = column.partition("_ns")
        in_ms = lambda row, column=column: None if row[column] is None else row[column] / 1e6
        yield f"{what}{percentile}_ms", "ms", False, in_ms


def performance_summary(tables):
    runs = in_order(tables.measured().filter(pl.col("pillar") == "performance"))
    answer = []
    of_run = headlines(tables)
    name = lambda row: of_run[row["run_key"]] and of_run[row["run_key"]]["name"]
    runs = [followed(row) for row in runs]
    for (model, profile, key), rows in groups(runs, "model", "profile", "comparable_key").items():
        alike = [row for row in rows if name(row) == name(rows[-1])]
        for metric, unit, higher, value_of in headline_metrics():
            told = map(value_of, rows if metric in OF_WHOLE_RUNS else alike)
            values = [value for value in told if value is not None]
            if not values:
                continue
            best, last = (max if higher else min)(values), values[-1]
            gap = best - last if higher else last - best
            answer.append({
                "model": model, "profile": profile, "comparable_key": key, "metric": metric,
                "unit": unit, "higher_is_better": higher, "runs": len(values),
                "average": math.fsum(values) / len(values), "best": best, "last": last, "gap": gap,
                "gap_pct": 100 * gap / abs(best) if best else None,
            })
    return answer


def t_quantile(freedom):
    """The 97.5 % quantile of Student's t, to a few per mille: the expansion that is documented."""
    return 1.96 + 2.372 / freedom + 2.822 / freedom**2 + 2.556 / freedom**3 + 1.59 / freedom**4


def score_trends(tables):
    runs = tables.measured().select("run_key", "model", "started_at")
    scores = in_order(tables["reports/scores"].join(runs, on="run_key"))
    answer = []
    for series in groups(scores, "model", "benchmark", "metric", "comparable_key").values():
        changes = []
        for earlier, row in enumerate(series):
            before = series[earlier - 1] if earlier else None
            change = row["value"] - before["value"] if before else None
            noise = math.sqrt(sum(c * c for c in changes) / len(changes) / 2) if changes else None
            significant = None
            if earlier >= 5:
                error = math.hypot(row["stderr"] or 0, before["stderr"] or 0)
                freedom = 2 * (earlier - 1) ** 2 / (3 * earlier - 4)
                floor = max(1.96 * error, t_quantile(freedom) * math.sqrt(2) * noise)
                significant = abs(change) > floor
            wanted = "benchmark metric model started_at value stderr n comparable_key run_id"
            answer.append(pick(row, *wanted.split(), "higher_is_better") | {
                "change": change, "significant": significant, "earlier": earlier, "noise": noise,
            })
            if change is not None:
                changes.append(change)
    return answer


SETUP = ["model_revision", "engine", "engine_version", "engine_args", "driver", "model_digest"]
SETUP += ["precision"]


def setup(row):
    return [row[name] or "" for name in SETUP]


def deciding(rows):
    """Of runs in order of time, the one that decides about the peak."""
    tried = [row for row in rows if row["peak_goodput_rps"] is not None
             or row["verdict"] == "blocked" and row["profile"] in LIMIT_FINDING]
    stands = None
    for row in (row for row in tried if setup(row) == setup(tried[-1])):
        peak = row["peak_goodput_rps"]
        open_above = peak is not None and row["limit_found"] is False
        if open_above and stands is not None and stands["peak_goodput_rps"] is not None:
            known = stands["peak_goodput_rps"]
            if peak < known or peak == known and stands["limit_found"] is not False:
                continue
        stands = row
    return stands


def capacity(tables):
    runs = tables.with_envelopes(tables.measured().filter(pl.col("pillar") == "performance"))
    runs = [row | {"endpoint": row["endpoint"] if row["gpu_sku"] is None else None} for row in in_order(runs)]
    hardware = ["model", "gpu_sku", "gpu_count", "endpoint"]
    newest = {key: rows[-1] for key, rows in groups(runs, *hardware).items()}
    answer = []
    month_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=30)
    keys = [*hardware, "slo", "workload_digest"]
    for key, rows in groups(runs, *keys).items():
        def last(measures):
            return next(filter(measures, reversed(rows)), None)

        floor = last(lambda row: row["floor_ttft_ns"] is not None)
        peak = deciding(rows)
        sustainable = last(lambda row: row["sustainable_rps"] is not None)
        recovery = last(lambda row: row["recovery_ns"] is not None or row["recovery_rps"] is not None)
        behind = [row for row in (floor, peak, sustainable, recovery) if row]
        if not behind:
            continue
        measured_at = min(row["started_at"] for row in behind)
        now = setup(newest[key[:4]])
        of = lambda row, name, factor=1: row[name] / factor if row and row[name] is not None else None
        text = lambda row, name: row[name] if row else None
        answer.append(dict(zip(keys, key)) | {
            "workload": rows[-1]["workload"], "runs": len(rows), "measured_at": measured_at,
            "floor_ttft_ms": of(floor, "floor_ttft_ns", 1e6),
            "peak_goodput_rps": of(peak, "peak_goodput_rps"),
            "peak_goodput_rps_low": of(peak, "peak_goodput_rps_low"),
            "peak_goodput_rps_high": of(peak, "peak_goodput_rps_high"),
            "peak_verdict": text(peak, "verdict"), "limit_found": text(peak, "limit_found"),
            "peak_measured_at": text(peak, "started_at"),
            "sustainable_measured_at": text(sustainable, "started_at"),
            "sustainable_run_id": text(sustainable, "run_id"),
            "capacity_method": text(peak, "capacity_method"), "run_id": text(peak, "run_id"),
            "sustainable_rps": of(sustainable, "sustainable_rps"),
            "sustainable_rps_low": of(sustainable, "sustainable_rps_low"),
            "sustainable_rps_high": of(sustainable, "sustainable_rps_high"),
            "recovery_ms": of(recovery, "recovery_ns", 1e6),
            "recovery_rps": of(recovery, "recovery_rps"),
            "stale": any(setup(row) != now for row in behind) or measured_at < month_ago,
        })
    return answer


def answers(tables):
    rows = []
    for row in capacity(tables):
        said = row["model"]
        if row["gpu_sku"] is None:
            said += f" at {row['endpoint']} on hardware that is not known"
        elif row["gpu_count"] is None:
            said += f" on {row['gpu_sku']}"
        else:
            said += f" on {row['gpu_count']} x {row['gpu_sku']}"
        if row["peak_goodput_rps"] is not None:
            least = "" if row["limit_found"] else "at least "
            said += f" serves {least}{round(row['peak_goodput_rps'], 2)} good requests a second"
            said += " at its limit" if row["limit_found"] else ""
        elif row["peak_verdict"] is not None:
            said += " met the SLO at no load that was tried"
        else:
            said += " was not driven to its limit yet"
        said += f", on workload {row['workload']}" if row["workload"] is not None else ""
        said += f", with SLO {row['slo']}" if row["slo"] is not None else ""
        said += "."
        if row["peak_goodput_rps"] is not None and row["limit_found"] is False:
            said += " No load that was tried was too much."
        if row["sustainable_rps"] is None:
            said += " What holds for long was not measured."
        else:
            said += f" {round(row['sustainable_rps'], 2)} requests a second hold for long."
        if row["floor_ttft_ms"] is not None:
            said += f" Without load the first token takes {round(row['floor_ttft_ms'], 1)} ms."
        if row["recovery_ms"] is not None:
            said += f" After an overload it serves as before within {round(row['recovery_ms'] / 1e3, 1)} s."
        said += f" Measured {row['measured_at'].date().isoformat()}."
        said += " This may no longer hold: measure again." if row["stale"] else ""
        wanted = "model gpu_sku gpu_count endpoint workload slo measured_at stale run_id"
        rows.append(pick(row, *wanted.split()) | {"answer": said})
    return rows


def gpu_hours(tables):
    samples = tables["reports/fleet"].filter(pl.col("gpu_uuid").is_not_null())
    samples = samples.with_columns(
        hour=pl.col("at").dt.truncate("1h"), minute=pl.col("at").dt.truncate("1m"), gpu="gpu_uuid"
    )
    answer = []
    for key, rows in groups(samples.to_dicts(), "hour", "host", "gpu").items():
        skus = [row["sku"] for row in rows if row["sku"] is not None]
        hours = lambda states: len({row["minute"] for row in rows if row["state"] in states}) / 60
        answer.append(dict(zip(("hour", "host", "gpu"), key)) | {
            "sku": max(skus, default=None), "busy": hours({"leased"}), "idle": hours({"idle"}), "foreign": hours({"foreign"}),
            "quarantined": hours({"quarantined"}),
            "sampled": hours({"leased", "idle", "foreign", "quarantined"}),
        })
    return answer


def functional_summary(tables):
    runs = tables.measured().select("run_key", "model", "started_at", "comparable_key")
    cases = tables["raw/cases"].join(runs, on="run_key").to_dicts()
    keys = ["model", "tier", "marker", "started_at", "comparable_key", "run_id"]
    answer = []
    for key, rows in groups(cases, *keys).items():
        count = lambda outcome: sum(row["outcome"] == outcome for row in rows)
        answer.append(dict(zip(keys, key)) | {
            "passed": count("passed"), "failed": count("failed"), "skipped": count("skipped"),
            "errors": count("error"),
        })
    return answer


def operations(tables):
    kinds = "deployment_started deployment_failed deployment_stopped schedule_missed gpu_quarantined"
    events = tables["audit/events"].filter(pl.col("action").is_in(kinds.split()))
    events = events.rename({"action": "kind"})
    return events.select("at", "kind", "model", "deployment", "host", "reason").to_dicts()


def verdict_of(tables, run):
    return next(row["verdict"] for row in tables["reports/runs"].to_dicts() if row["run_id"] == run)


def saturation_curve(tables, run):
    stages = tables["reports/stages"].filter((pl.col("run_id") == run) & (pl.col("phase") == "steady"))
    ms = lambda row, name: None if row[name] is None else row[name] / 1e6
    share = lambda part, row: row[part] / row["sent"] if row["sent"] else None
    kept = "stage name workload_class offered_rps concurrency throughput_rps goodput_rps output_tokens_per_s"
    kept += " sent missed ok"
    kept += " good errors in_flight_max achieved_ratio backlog_slope valid run_id"
    answer = []
    for row in stages.to_dicts():
        found = pick(row, *kept.split())
        for what in ("ttft", "tpot", "itl", "e2e"):
            for percentile in ("p50", "p99"):
                found[f"{what}_{percentile}_ms"] = ms(row, f"{what}_ns_{percentile}")
        answer.append(found | {
            "duration_ms": ms(row, "duration_ns"),
            "error_rate": share("errors", row), "slo_attainment": share("good", row),
            "schedule_lag_p99_ms": ms(row, "schedule_lag_ns_p99"),
            "run_verdict": verdict_of(tables, run),
        })
    return answer


def percentile(values, q):
    """Linear interpolation between ranks, the weight cut after six decimals."""
    if not values:
        return None
    values = sorted(values)
    rank = q * (len(values) - 1)
    low = math.floor(rank)
    weight = math.trunc((rank - low) * 1e6) / 1e6
    high = values[min(low + 1, len(values) - 1)]
    return values[low] + (high - values[low]) * weight


def latency_matrix(tables, run):
    requests = tables["raw/requests"].filter((pl.col("run_id") == run) & (pl.col("phase") == "steady"))
    stages = {row["stage"]: row for row in
              tables["reports/stages"].filter(pl.col("run_id") == run).to_dicts()}
    answer = []
    kinds = groups(requests.to_dicts(), "stage", "arm", "workload_class")
    for (stage, arm, of_class), rows in kinds.items():
        ok = [row for row in rows if row["status"] == "ok"]

        def mean(name):
            known = [row[name] for row in ok if row[name] is not None]
            return sum(known) / len(known) if known else None

        found = pick(stages[stage], "stage", "name", "offered_rps", "concurrency", "run_id") | {
            "arm": arm, "workload_class": of_class, "run_verdict": verdict_of(tables, run),
            "sent": len(rows), "ok": len(ok),
            "good": sum(row["good"] for row in rows), "errors": len(rows) - len(ok),
            "prompt_tokens": mean("prompt_tokens"), "output_tokens": mean("output_tokens"),
            "output_tokens_asked": mean("output_tokens_asked"),
        }
        for what in ("ttft", "tpot", "e2e"):
            values = [row[f"{what}_ns"] for row in ok if row[f"{what}_ns"] is not None]
            for name, q in (("p50", 0.5), ("p99", 0.99)):
                value = percentile(values, q)
                found[f"{what}_{name}_ms"] = None if value is None else value / 1e6
        answer.append(found)
    return answer


def sizing(tables, model, demand):
    answer = []
    for row in capacity(tables):
        if row["model"] != model:
            continue
        basis, rate = None, None
        behind = {"measured_at": row["peak_measured_at"], "run_id": row["run_id"]}
        for name, column in (("peak", "peak_goodput_rps"), ("sustainable", "sustainable_rps")):
            if row[column] is not None:
                basis = name
                behind = {"measured_at": row[f"{name}_measured_at"], "run_id": row["sustainable_run_id" if name == "sustainable" else "run_id"]}
                rate = row[column] if row[f"{column}_low"] is None else row[f"{column}_low"]
        needed = math.ceil(demand / rate) if rate else None
        surplus = lambda replicas: 100 * (replicas * rate / demand - 1) if rate else None
        gpus = (needed + 1) * row["gpu_count"] if needed and row["gpu_count"] else None
        answer.append(pick(row, "gpu_sku", "gpu_count", "endpoint", "workload", "slo", "stale") | behind | {
            "demand_rps": demand, "basis": basis, "rate_rps": rate, "replicas": needed,
            "replicas_with_reserve": needed + 1 if needed else None, "gpus_with_reserve": gpus,
            "headroom_pct": surplus(needed + 1) if needed else None,
            "headroom_after_loss_pct": surplus(needed) if needed else None,
        })
    return answer


ANSWERS = {
    "peak_rps": peak_rps,
    "performance_summary": performance_summary,
    "score_trends": score_trends,
    "capacity": capacity,
    "answers": answers,
    "gpu_hours": gpu_hours,
    "functional_summary": functional_summary,
    "operations": operations,
    "saturation_curve": saturation_curve,
    "latency_matrix": latency_matrix,
    "sizing": sizing,
}
