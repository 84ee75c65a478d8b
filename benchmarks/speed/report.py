"""How long a report of 57,840 battles takes, and how much memory: python -m benchmarks.speed.report [--battles N] [FILE]

The battles of FILE (the sample's, if not given) are repeated with ids and prompts of their own until there are N. The
model is a function of the responses' lengths, so that what is timed is the report: style features, the audit without a
model's own time, the figures, the page.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
from scipy.special import log_softmax

from arena_data.loading import load_battles
from arena_data.style.features import style_arrays
from reward_model.audit.audit import audit
from reward_model.report.data import PRIOR, ReportData
from reward_model.report.page import report_json, write_report


def by_length(battles: datasets.Dataset) -> np.ndarray:
    """Log-probabilities float64 [n, 3] of a model that likes long responses."""
    lengths = np.zeros((len(battles), 2))
    columns = ["response_a", "response_b"]
    for start in range(0, len(battles), 1024):
        batch = battles.select_columns(columns)[start : start + 1024]
        for side, column in enumerate(columns):
            sizes = [sum(len(turn or "") for turn in turns) for turns in batch[column]]
            lengths[start : start + len(sizes), side] = sizes
    margin = 0.3 * (np.log1p(lengths[:, 0]) - np.log1p(lengths[:, 1]))
    return log_softmax(np.stack([margin / 2, -margin / 2, np.full(len(margin), -0.2)], axis=1), axis=1)


def repeated(battles: datasets.Dataset, count: int) -> datasets.Dataset:
    """`count` battles, each with an id and a prompt of its own."""
    copies = -(-count // len(battles))
    many = datasets.concatenate_datasets([battles] * copies).select(range(count))
    names = datasets.Dataset.from_dict({"id": [str(row) for row in range(count)]})
    names = names.add_column("group", [f"prompt {row}" for row in range(count)])
    return datasets.concatenate_datasets([many.remove_columns(["id", "group"]), names], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", default="arena_data/sample.csv")
    parser.add_argument("--battles", type=int, default=57_840)
    options = parser.parse_args()
    loaded = load_battles(options.file, labels="required")
    assert isinstance(loaded, datasets.Dataset)
    battles = repeated(loaded, options.battles)
    log_probs = by_length(battles)
    peers = {PRIOR: np.full_like(log_probs, np.log(1 / 3)), "half": log_softmax(0.5 * log_probs, axis=1)}

    times = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        times[name], start = time.perf_counter() - start, time.perf_counter()

    style = style_arrays(battles)
    lap("style features")
    audited = audit(battles, log_probs, by_length, style=style)
    lap("audit")
    data = ReportData(battles, log_probs, 1.2 * log_probs, peers=peers, audit=audited)
    figures = report_json(data)
    lap("figures")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        write_report(page, data, figures)
        size = page.stat().st_size
    lap("page")
    for name, seconds in times.items():
        print(f"{name:<15}{seconds:6.1f} s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'all':<15}{sum(times.values()):6.1f} s, {memory:,.0f} MB at most, page of {size / 1024:,.0f} KB")


if __name__ == "__main__":
    main()
