"""Asks the views of a warehouse as a stranger does who has DuckDB alone, and compares.

    stranger.py VIEWS.sql OURS.json [SECRET]

DuckDB reads the Delta tables with its own extension, by the script that `plimsoll warehouse views
--dialect duckdb` prints. OURS.json is as for judge.py. SECRET is a statement that gives DuckDB the
credentials of a bucket. Ends with 1 and the rows that differ where the answers are not the same.
"""

import json
import sys
import tempfile
from pathlib import Path

import duckdb
from duckdb_extensions import import_extension

import comparing


def main(script, answers, secret=None):
    with tempfile.TemporaryDirectory() as extensions:
        database = duckdb.connect(config={"extension_directory": extensions})
        import_extension("delta", con=database)
        if secret is not None:
            import_extension("httpfs", con=database)
            database.execute(secret)
        database.execute(Path(script).read_text())
        ours = json.loads(Path(answers).read_text())
        return comparing.verdict(comparing.with_duckdb(database, ours))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
