"""What differs between two runs, and where figures changed for good.

Written from what the functions' documentation says, and not from their code.
"""

import datetime
import json
import math

import numpy as np
import polars as pl
from scipy import stats

import procedure
from views import OF_WHOLE_RUNS, followed, groups, headline_metrics, headlines, in_order

STAGE_RATES = ["throughput_rps", "goodput_rps"]

# What a run and its envelope say of a run's surroundings.
OF_RUN = ["model", "model_revision", "deployment", "endpoint", "plimsoll_version"]
OF_ENVELOPE = ["gpu_sku", "gpu_count", "topology", "driver", "engine", "engine_version"]
OF_ENVELOPE += ["engine_args", "model_digest", "tokenizer_digest", "precision", "warm_up", "host"]


def stage_metrics():
    for name in STAGE_RATES:
        yield name, "req/s", True, lambda row, name=name: row[name]
    for column in [f"{what}_ns_p{p}" for what in ("ttft", "tpot", "itl", "e2e") for p in (50, 99)]:
        what, _, percentile = column.partition("_ns")
        in_ms = lambda row, column=column: None if row[column] is None else row[column] / 1e6
        yield f"{what}{percentile}_ms", "ms", False, in_ms


def passed_shares(cases):
    """Of each marker the share that passed, of the cases that say something of the subject."""
    of_subject = ["content", "contract", "overload", "timeout"]
    for (marker,), rows in groups(cases, "marker").items():
        judged = [row for row in rows if row["outcome"] in ("passed", "failed")
                  or row["outcome"] == "error" and row["failure_kind"] in of_subject]
        if judged:
            yield marker, sum(row["outcome"] == "passed" for row in judged) / len(judged)


def share_error(share, sent):
    """Standard error of a share, by Laplace's rule of succession; nothing of no requests."""
    p = (share * sent + 1) / (sent + 2)
    return math.sqrt(p * (1 - p) / sent) if sent else None


class Figures:
    """Every figure of every run that says how its subject did."""

    def __init__(self, tables):
        self.runs = [followed(run) for run in in_order(tables.measured())]
        self.headlines = headlines(tables)
        self.stages = groups(tables["reports/stages"].to_dicts(), "run_key")
        self.scores = groups(tables["reports/scores"].to_dicts(), "run_key")
        self.cases = groups(tables["raw/cases"].to_dicts(), "run_key")

    def of(self, run):
        """Section, item and metric of each, with unit, direction, value, error and question."""
        found = {}

        def put(section, item, metric, unit, higher, value, stderr=None, key=None, load=None):
            if value is not None:
                key = run["comparable_key"] if key is None else key
                found[section, item, metric] = unit, higher, value, stderr or 0, (key, load)

        key = (run["run_key"],)
        steady = [stage for stage in self.stages.get(key, []) if stage["phase"] == "steady"]
        headline = self.headlines[run["run_key"]]
        sent = headline["sent"] if headline else sum(stage["sent"] for stage in steady)
        for metric, unit, higher, value_of in headline_metrics():
            load = headline["name"] if headline and metric not in OF_WHOLE_RUNS else None
            value = value_of(run)
            error = share_error(value, sent) if unit == "share" and value is not None else None
            put("summary", None, metric, unit, higher, value, error, load=load)
        places = {}
        for stage in sorted(steady, key=lambda stage: stage["stage"]):
            place = places[stage["name"]] = places.get(stage["name"], 0) + 1
            item = stage["name"] if place == 1 else f"{stage['name']} ({place})"
            for metric, unit, higher, value_of in stage_metrics() if stage["valid"] else []:
                put("stage", item, metric, unit, higher, value_of(stage))
        for score in self.scores.get(key, []):
            put("benchmark", score["benchmark"], score["metric"], "score", score["higher_is_better"],
                score["value"], score["stderr"], score["comparable_key"])
        for marker, share in passed_shares(self.cases.get(key, [])):
            put("marker", marker, "passed_share", "share", True, share)
        return found


def flat(text, path=""):
    """The values of a JSON object as texts, by their paths."""
    found = {}
    for name, value in (text if isinstance(text, dict) else json.loads(text or "{}")).items():
        if isinstance(value, dict):
            found |= flat(value, f"{path}{name}.")
        elif value is not None:
            found[path + name] = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return found


class Setups:
    """What each run was measured on and with."""

    def __init__(self, tables):
        self.envelopes = {row["run_key"]: row for row in tables["reports/envelopes"].to_dicts()}

    def envelope(self, run):
        row = self.envelopes.get(run["run_key"], {})
        found = flat(row.get("json"))
        found = {name: text for name, text in found.items() if name not in ("model", "workload_digest")}
        for source, names in ((run, OF_RUN), (row, OF_ENVELOPE)):
            found |= {name: str(source[name]) for name in names if source.get(name) is not None}
        return found

    def settings(self, run):
        found = flat(run["config"])
        return {name: text for name, text in found.items() if name.split(".")[0] != "clock"}


def differences(a, b):
    both = sorted(a.keys() | b.keys())
    return [(name, a.get(name), b.get(name)) for name in both if a.get(name) != b.get(name)]


def noise_of(series):
    """Standard deviation of single runs and its degrees of freedom, from neighbours in time."""
    if sum(map(len, series)) < 5:
        return None
    series = [np.array(values) for values in series if len(values) > 1]
    if not series:
        return None
    steps = np.concatenate([np.diff(values) for values in series])
    freedom = sum(2 * (len(v) - 1) ** 2 / (3 * len(v) - 4) for v in series)
    return math.sqrt((steps**2).mean() / 2), freedom


COLUMNS = "section item metric unit higher_is_better a b change change_pct change_low change_high"
COLUMNS += " verdict reason noise earlier a_text b_text"


def row(**known):
    return dict.fromkeys(COLUMNS.split()) | known


def figure(name, a, b, earlier):
    """One figure of two runs, and of the runs before the later one, each with its model."""
    section, item, metric = name
    unit, higher = (a or b)[:2]
    found = row(section=section, item=item, metric=metric, unit=unit, higher_is_better=higher,
                a=a and a[2], b=b and b[2], verdict="undecided")
    key = a and a[4]
    series = [[f[2] for own, f in earlier if own == of_a and f[4] == key] for of_a in (True, False)]
    found["earlier"] = sum(map(len, series))
    noise = noise_of(series) if key == (b and b[4]) else None
    found["noise"] = noise and noise[0]
    if a is None or b is None:
        stage = section == "stage"
        return found | {"reason": "only one of the runs has " + ("such a stage, and valid" if stage else "it")}
    change = b[2] - a[2]
    found |= {"change": change, "change_pct": 100 * change / abs(a[2]) if a[2] else None}
    if key[0] != b[4][0]:
        return found | {"reason": "the runs answer different questions: their comparable_key differs"}
    if key != b[4]:
        loads = " and ".join(load or "all stages" for load in (key[1], b[4][1]))
        return found | {"reason": f"it describes different loads: {loads}"}
    if noise is None:
        return found | {"reason": f"{found['earlier']} earlier runs of the question, and 5 are needed"}
    sd, freedom = noise
    reach = max(stats.t.ppf(0.975, freedom) * math.sqrt(2) * sd, 1.96 * math.hypot(a[3], b[3]))
    if abs(change) <= reach:
        verdict = "within_noise"
    elif abs(change) < 0.01 * abs(a[2]):
        verdict = "negligible"
    else:
        verdict = "better" if (change > 0) == higher else "worse"
    return found | {"verdict": verdict, "change_low": change - reach, "change_high": change + reach}


def compare_runs(tables, a, b):
    figures, setups = Figures(tables), Setups(tables)
    by_id = {run["run_id"]: run for run in figures.runs}
    a, b = by_id[a], by_id[b]
    place = figures.runs.index
    later = max(a, b, key=place)
    question = lambda run: (run["model"], run["comparable_key"])
    alike = [run for run in figures.runs[: place(later) + 1] if question(run) in (question(a), question(b))]
    behind = [run for run in alike[-100:] if run is not later]
    behind += [run for run in (a, b) if run is not later and run not in behind]
    earlier = [(run["model"] == a["model"], figures.of(run)) for run in sorted(behind, key=place)]
    of_a, of_b = figures.of(a), figures.of(b)
    answer = []
    for name in of_a.keys() | of_b.keys():
        before = [(own, found[name]) for own, found in earlier if name in found]
        answer.append(figure(name, of_a.get(name), of_b.get(name), before))
    texts = [("summary", "verdict", None, a["verdict"], b["verdict"])]
    cases = [{case["case_id"]: case["outcome"] for case in figures.cases.get((run["run_key"],), [])} for run in (a, b)]
    texts += [("case", None, *rest) for rest in differences(*cases)]
    texts += [("envelope", None, *rest) for rest in differences(setups.envelope(a), setups.envelope(b))]
    texts += [("settings", None, *rest) for rest in differences(setups.settings(a), setups.settings(b))]
    for section, metric, item, one, other in texts:
        if one != other:
            answer.append(row(section=section, metric=metric, item=item, a_text=one, b_text=other))
    return answer


def series_of(tables, since):
    """The values of each question in order of time, each with its run."""
    figures = Figures(tables)
    found = {}
    for run in figures.runs:
        if run["started_at"] < since - datetime.timedelta(days=400):
            continue
        for (section, item, metric), (unit, higher, value, _, (key, load)) in figures.of(run).items():
            pillar = {"summary": "performance", "benchmark": "benchmark", "marker": "functional"}.get(section)
            if pillar is None or pillar == "performance" and run["pillar"] != "performance":
                continue
            suite = run["suite"] if pillar == "performance" else item
            question = pillar, run["model"], suite, metric, unit, higher, key, load
            found.setdefault(question, []).append((value, run))
    return found


def change_points(tables, since, only_worse=False):
    since = datetime.datetime.fromisoformat(since)
    setups = Setups(tables)
    answer, tested = [], []
    for question, values in series_of(tables, since).items():
        new = sum(run["started_at"] < since for _, run in values)
        if new == len(values):
            continue
        first = max(0, new - 100)
        window = values[first:]
        series = np.array([value for value, _ in window], dtype=float)
        found = procedure.points(series)
        tested += [(p, None) for p in procedure.elsewhere(series, [place for place, _ in found])]
        edges = [0, *(place for place, _ in found), len(series)]
        for (place, p), start, end in zip(found, edges, edges[2:]):
            left, right = series[start:place], series[place:end]
            before, after = float(left.mean()), float(right.mean())
            change = after - before
            pillar, model, suite, metric, unit, higher, key, _ = question
            worse = (change < 0) == higher
            last, next_run = window[place - 1][1], window[place][1]
            small = abs(change) < 0.01 * abs(before)
            asked = first + place >= 5 and next_run["started_at"] >= since and not small
            if not asked or only_worse and not worse:
                continue
            low = high = change
            if left.std() or right.std():
                low, high = stats.ttest_ind(right, left, equal_var=False).confidence_interval(0.95)
            told = differences(setups.envelope(last), setups.envelope(next_run))
            causes = "; ".join(f"{name}: {one or 'nothing'} -> {other or 'nothing'}" for name, one, other in told)
            tested.append((p, {
                "changed_at": next_run["started_at"], "pillar": pillar, "model": model, "suite": suite,
                "metric": metric, "unit": unit, "higher_is_better": higher,
                "direction": "worse" if worse else "better", "before": before, "after": after,
                "change": change, "change_pct": 100 * change / abs(before) if before else None,
                "change_low": low, "change_high": high, "runs_before": len(left),
                "runs_after": len(right), "causes": causes or None, "run_id_before": last["run_id"],
                "run_id_after": next_run["run_id"], "comparable_key": key,
            }))
    rates = stats.false_discovery_control([p for p, _ in tested]) if tested else []
    for (_, change), rate in zip(tested, rates):
        if change is not None and rate <= 0.05:
            answer.append(change | {"confidence": 1 - float(rate)})
    return answer


def regressions(tables, since):
    return change_points(tables, since, only_worse=True)


def sketched(tables, *shares):
    """Of each model and phase, values of latencies below which each share of them lies."""
    runs = tables["reports/runs"].select("run_key", "model")
    requests = tables["raw/requests"].join(runs, on="run_key").filter(pl.col("status") == "ok")
    answer = []
    for (model, phase), rows in groups(requests.to_dicts(), "model", "phase").items():
        values = sorted(row["ttft_ns"] for row in rows)
        found = {f"p{round(100 * q)}": values[math.floor(q * (len(values) - 1))] for q in shares}
        answer.append({"model": model, "phase": phase} | found)
    return answer
