"""Tables of speed and memory in docs/performance.md, printed by cog (`make pages`) from benchmarks/results/*.json."""

import json
from collections.abc import Sequence
from typing import Any

from docs.tables import ROOT, show

BENCHMARK = json.loads((ROOT / "benchmarks/results/benchmark_AMD-EPYC-2-threads.json").read_text())


def machine() -> None:
    """Print the device, date and versions of the record."""
    versions = ", ".join(f"{name} {version}" for name, version in BENCHMARK["versions"].items())
    print(f"{BENCHMARK['device']}, {BENCHMARK['dtype']}, {BENCHMARK['date']}, {versions}.")


def networks(size: int) -> None:
    """Print time, memory and share of the processor's peak of each network.

    Args:
        size: Height and width of the images.
    """
    peak = BENCHMARK["peak_operations_per_second"]
    rows: dict[str, list[object]] = {}
    for row in (row for row in BENCHMARK["networks"] if row["size"] == size):
        cells = rows.setdefault(row["network"], [f"{row['parameters'] / 1e6:.1f} M", f"{row['multiply_adds'] / 1e9:.1f} G"])
        factor = 1 if row["mode"] == "inference" else 3  # the backward pass multiplies twice
        seconds = row["median_ms"] / 1e3
        share = 2 * factor * row["pictures"] * row["multiply_adds"] / seconds / peak
        cells += [_time(row), f"{row['pictures'] / seconds:.2g}", _size(row["peak_bytes"]), f"{100 * share:.0f} %"]
    columns = [f"{mode}: {c}" for mode in ("inference", "training") for c in ("ms", "images/s", "memory", "of peak")]
    header = ("network", "parameters", "multiply-adds", *columns)
    show([(name, *cells) for name, cells in rows.items()], header)


def changes() -> None:
    """Print the effect of memory layout and preparation on inference time."""
    titles = {
        "contiguous, as torch makes it": "contiguous, torch's default",
        "channels last": "channels last",
        "+ 1x1 in a row merged, Winograd": "prepared",
    }
    first, rows = {}, []
    for row in (row for row in BENCHMARK["changes"] if row["change"] in titles):
        base = first.setdefault(row["network"], row["median_ms"])
        difference = f"{row['largest_difference']:.0e}"
        rows.append((row["network"], titles[row["change"]], _time(row), f"{base / row['median_ms']:.2f}", difference))
    show(rows, ("network", "change", "ms", "times as fast", "max difference of a score"), text=(0, 1))


def training_memory() -> None:
    """Print memory and time of a training step by loss and activation checkpointing."""
    rows = []
    for row in BENCHMARK["memory"]:
        loss = "score map" if row["loss_at"] == "score_map" else f"image, {'chunked' if row['in_strips'] else 'whole'}"
        kept = "recomputed" if row["checkpoint_activations"] else "kept"
        sizes = (_size(row["kept_bytes"]), _size(row["peak_bytes"]), f"{row['least_ms']:.0f}")
        rows.append((row["network"], row["classes"], row["pictures"], loss, kept, *sizes))
    header = ("network", "classes", "images", "loss at", "activations", "kept for backward", "peak memory", "step, ms")
    show(rows, header, text=(0, 3, 4))


def evaluation_memory() -> None:
    """Print the peak memory of evaluation on large images."""
    rows: list[Sequence[object]] = []
    for row in json.loads((ROOT / "benchmarks/results/evaluation_memory.json").read_text()):
        tiles = f", tiles of {row['tile'][0]}x{row['tile'][1]}" if "tile" in row else ""
        label = row["label"] + tiles + ("" if row.get("strips", True) else ", not chunked")
        size = f"{row['width']}x{row['height']}"
        rows.append((row["data"].replace("picture", "image"), size, row["classes"], label, _size(row["peak_bytes"])))
    show(rows, ("images", "size", "outputs", "evaluation", "peak memory"), text=(0, 3))


def pipeline() -> None:
    """Print the samples per second of the input pipeline."""
    rows = []
    for row in BENCHMARK["data"]["pipeline"]:
        rate = row["samples_per_second"]
        rows.append((row["cores"], f"{rate:.0f}", f"{row['least']:.0f} to {row['greatest']:.0f}", f"{rate / row['cores']:.0f}"))
    show(rows, ("cores", "samples/second", "range", "per core"), text=())


def processes() -> None:
    """Print the speed of training by the number of processes and threads."""
    timed = json.loads((ROOT / "benchmarks/results/processes.json").read_text())["timed"]
    base = sorted(timed[0]["seconds"])[1]
    rows = []
    for row in timed:
        low, median, high = sorted(base / seconds for seconds in row["seconds"])
        rows.append((row["processes"], row["threads"], f"{median:.2f}", f"{low:.2f} to {high:.2f}"))
    show(rows, ("processes", "threads each", "speed", "range of 3 runs"), text=())


def logging() -> None:
    """Print the time of a training by its loggers, and the content and size of its W&B record."""
    record = json.loads((ROOT / "benchmarks/results/logging.json").read_text())
    rows: list[Sequence[object]] = []
    for row in record["times"]:
        seconds = sorted(record["seconds"][row["track"]])
        rows.append((f"`--track {row['track']}`", f"{row['median_s']:.0f}", f"{seconds[0]:.0f} to {seconds[-1]:.0f}"))
    show(rows, ("loggers", "median, s", "range, s"))
    print()
    sizes = {row["part"]: f"{row['kilobytes']:.0f} kB" for row in record["sizes"]}
    logged, names = (sum(row[key] for row in record["content"]) for key in ("logged", "names"))
    print(f"{record['device']}. W&B's record has {logged} values and media of {names} names and {sizes['all']},")
    print(f"of which images are {sizes['images']} and tables {sizes['tables']}, without the checkpoints.")


def _time(row: dict[str, Any]) -> str:
    return f"{row['median_ms']:.0f} ({row['least_ms']:.0f} to {row['greatest_ms']:.0f})"


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
