"""The tables of a warehouse, read by their logs alone."""

import json
from urllib.parse import unquote

import polars as pl

VERDICTS = ["passed", "degraded", "blocked"]


class Tables:
    """Each table as a data frame of the rows that a reader sees."""

    def __init__(self, warehouse):
        self.warehouse = warehouse
        self.cache = {}

    def __getitem__(self, name):
        if name not in self.cache:
            self.cache[name] = self.read(name)
        return self.cache[name]

    def read(self, name):
        folder = self.warehouse / name
        files = set()
        schema = None
        for commit in sorted((folder / "_delta_log").glob("*.json")):
            for line in commit.read_text().splitlines():
                action = json.loads(line)
                if "add" in action:
                    files.add(unquote(action["add"]["path"]))
                if "remove" in action:
                    files.discard(unquote(action["remove"]["path"]))
                if "metaData" in action:
                    schema = json.loads(action["metaData"]["schemaString"])
        frames = [pl.read_parquet(folder / file, hive_partitioning=False) for file in sorted(files)]
        if not frames:
            columns = [field["name"] for field in schema["fields"]]
            return pl.DataFrame({column: [] for column in columns})
        frame = pl.concat(frames, how="vertical")
        if name != "reports/runs" and "run_key" in frame.columns:
            frame = frame.join(self["reports/runs"].select("run_key"), on="run_key", how="semi")
        return frame

    def measured(self):
        """Runs whose verdict says how the subject did."""
        return self["reports/runs"].filter(pl.col("verdict").is_in(VERDICTS))

    def with_envelopes(self, runs):
        wanted = ["run_key", "engine", "engine_version", "engine_args", "gpu_sku", "gpu_count"]
        wanted += ["driver", "model_digest", "precision"]
        envelopes = self["reports/envelopes"].select(wanted)
        return runs.join(envelopes, on="run_key", how="left")
