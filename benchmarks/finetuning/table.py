"""Format the results as a Markdown table with a row per run and a column per task."""

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.finetuning.data import Data

TITLES = {
    "sst2": "SST-2 accuracy", "wnut17": "WNUT-17 F1", "codah": "CODAH accuracy", "squad": "SQuAD EM / F1"
}  # fmt: skip


def format_table(done: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, Data]) -> str:
    """Return the table of the completed runs, with median and standard deviation where there are several seeds."""
    rows: dict[str, dict[str, str]] = {}
    for name, data in tasks.items():
        seeds: dict[str, list[float]] = {}
        for key, found in done.items():
            task, _, run = key.partition("/")
            if task != name or not {"all", "scores"} & set(found):
                continue
            for who, scores in found.get("all", {found.get("who", ""): found.get("scores", {})}).items():
                contestant, _, seed = run.partition("-")
                title = who if "all" in found else f"{who}, seed {seed}"
                rows.setdefault(title, {})[name] = format_score(data, scores)
                if "all" not in found and contestant != "peer":
                    seeds.setdefault(who, []).append(scores[data.score])
        for who, values in seeds.items():
            if len(values) > 1:
                text = f"{100 * statistics.median(values):.1f}, deviation {100 * statistics.stdev(values):.1f}"
                rows.setdefault(f"{who}, median of {len(values)} seeds", {})[name] = text
    lines = [["", *(TITLES[name] for name in tasks)], ["---"] * (len(tasks) + 1)]
    lines += [[title, *(cells.get(name, "") for name in tasks)] for title, cells in sorted(rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_score(data: Data, scores: Mapping[str, float]) -> str:
    """Return the usual score of the task in percent."""
    if "exact_match" in scores:
        return f"{100 * scores['exact_match']:.1f} / {100 * scores['f1']:.1f}"
    return f"{100 * scores[data.score]:.1f}"
