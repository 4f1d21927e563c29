"""How answers are compared, and DuckDB's answers to the views."""

import datetime
import json

UTC = datetime.timezone.utc

VIEWS = ["peak_rps", "performance_summary", "score_trends", "capacity", "answers", "gpu_hours"]
VIEWS += ["functional_summary", "operations", "questions"]

# How far a float may lie from its judge's, as a share of it: sketches promise 1 %.
EXACT = 1e-9
# Bounds of intervals are differences of what may be much larger.
TOLERANCES = {"sketch": 0.01 + EXACT, "sketch_merge": 0.01 + EXACT}
TOLERANCES |= dict.fromkeys(["compare_runs", "change_points", "regressions"], 1e-7)


def plain(value):
    """A value as it is compared: moments as microseconds, dates as texts, floats as floats."""
    if isinstance(value, datetime.datetime):
        return int((value.astimezone(UTC) - datetime.datetime(1970, 1, 1, tzinfo=UTC)) / datetime.timedelta(microseconds=1))
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and len(value) >= 20 and value[10:11] == "T" and value.endswith("Z"):
        return plain(datetime.datetime.fromisoformat(value))
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return float(value)


def same(one, other, tolerance):
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= max(tolerance * abs(other), EXACT)
    return one == other


def order(row):
    """Rows in one order, whatever the last digits of their floats are, which are told apart last."""
    values = [value for _, value in sorted(row.items())]
    floats = [f"{value:.6g}" for value in values if isinstance(value, float)]
    return json.dumps([value for value in values if not isinstance(value, float)] + floats)


def compare(name, ours, theirs, who):
    ours = sorted(({k: plain(v) for k, v in row.items()} for row in ours), key=order)
    theirs = sorted(({k: plain(v) for k, v in row.items()} for row in theirs), key=order)
    wrong = []
    if len(ours) != len(theirs):
        wrong.append(f"{len(ours)} rows, and {who} has {len(theirs)}")
    for row, other in zip(ours, theirs):
        if row.keys() != other.keys():
            wrong.append(f"columns {sorted(row.keys() ^ other.keys())} are not in both")
        else:
            wrong += [
                f"{key}: {row[key]!r}, and {who} has {other[key]!r}, in {other}"
                for key in row
                if not same(row[key], other[key], TOLERANCES.get(name, EXACT))
            ]
        if len(wrong) > 5:
            break
    print(f"{name}: {len(ours)} rows, {'as' if not wrong else 'NOT as'} {who}")
    for line in wrong[:6]:
        print(f"  {line}")
    return not wrong


def with_duckdb(database, ours):
    """Compares each view that was asked with what DuckDB says to it; whether they agree, each."""
    agreed = []
    for asked in ours:
        if asked["name"] in VIEWS:
            rows = database.execute(f"SELECT * FROM reports.{asked['name']}")
            columns = [column[0] for column in rows.description]
            theirs = [dict(zip(columns, row)) for row in rows.fetchall()]
            agreed.append(compare(asked["name"], asked["rows"], theirs, "DuckDB"))
    return agreed


def verdict(agreed):
    """Says how many agree, and gives what the program ends with."""
    print(f"{sum(agreed)} comparisons agree, {len(agreed) - sum(agreed)} do not")
    return 0 if agreed and all(agreed) else 1
