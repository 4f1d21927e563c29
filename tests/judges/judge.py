"""Works out the answers of a warehouse a second time, and compares.

    judge.py WAREHOUSE VIEWS.sql OURS.json

Polars reads the tables' files and comes to each answer with logic of its own; DuckDB runs the
views' SQL as `plimsoll warehouse views --files` prints it. OURS.json holds what Plimsoll answered: a
list of objects with the name of what was asked, its arguments and the rows.
Ends with 1 and the rows that differ where the answers are not the same.
"""

import json
import sys
from pathlib import Path

import duckdb

import comparing
import runs
import tables
import views

ANSWERS = views.ANSWERS | {
    "compare_runs": runs.compare_runs,
    "change_points": runs.change_points,
    "regressions": runs.regressions,
    "sketch": runs.sketched,
    "sketch_merge": runs.sketched,
}


def main(warehouse, script, answers):
    ours = json.loads(Path(answers).read_text())
    database = duckdb.connect()
    database.execute(Path(script).read_text())
    agreed = comparing.with_duckdb(database, ours)
    read = tables.Tables(Path(warehouse))
    for asked in ours:
        name, arguments, answer = asked["name"], asked["arguments"], asked["rows"]
        if name in ANSWERS:
            theirs = ANSWERS[name](read, *arguments)
            agreed.append(comparing.compare(name, answer, theirs, "Polars"))
    return comparing.verdict(agreed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
