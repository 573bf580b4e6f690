"""The record of a benchmark as Markdown and CSV."""

import csv
from pathlib import Path

from tabulate import tabulate


def tables(record: dict) -> dict[str, str]:
    """Markdown of each part of a record, by the part's name."""
    makers = {
        "networks": networks,
        "changes": changes,
        "freed": freed,
        "parts": parts,
        "memory": memory,
        "data": data,
        "start": start,
    }
    return {name: make(record) for name, make in makers.items() if name in record}


def of_size(record: dict, size: int) -> dict:
    """A record whose networks are those at one size of pictures."""
    return record | {"networks": [row for row in record["networks"] if row["size"] == size]}


def networks(record: dict) -> str:
    """RefineNets and their peers, a row for each network and size."""
    rows, peak = [], record["peak_operations_per_second"]
    inference = [row for row in record["networks"] if row["mode"] == "inference"]
    for row in inference:
        like = (row["network"], row["size"], "training")
        training = next(r for r in record["networks"] if (r["network"], r["size"], r["mode"]) == like)
        operations = 2 * row["multiply_adds"] / (row["median_ms"] / 1e3)
        trained = 2 * 3 * row["multiply_adds"] * training["pictures"] / (training["median_ms"] / 1e3)
        rows.append(
            (row["network"], f"{row['size']}x{row['size']}", f"{row['parameters'] / 1e6:.1f} M",
             f"{row['multiply_adds'] / 1e9:.1f} G", _time(row), f"{1e3 / row['median_ms']:.1f}", _gibibytes(row),
             f"{100 * operations / peak:.0f} %", _time(training), f"{1e3 * training['pictures'] / training['median_ms']:.2f}",
             _gibibytes(training), f"{100 * trained / peak:.0f} %")
        )  # fmt: skip
    header = (
        "network", "pictures", "parameters", "multiply-adds", "inference, ms", "pictures/s", "memory", "of peak",
        "training step, ms", "pictures/s", "memory", "of peak",
    )  # fmt: skip
    return _table(header, rows, left=2)


def changes(record: dict) -> str:
    """What each change gives."""
    rows, first = [], record["changes"][0]["change"]
    counted = any("multiply_adds" in row for row in record["changes"])
    for row in record["changes"]:
        same = ("network", "mode")
        base = next(r for r in record["changes"] if r["change"] == first and all(r.get(k) == row.get(k) for k in same))
        error = row.get("largest_difference")
        cells = [row["network"], ", ".join(filter(None, [row.get("mode"), row["change"]])), _time(row)]
        cells += [f"{base['median_ms'] / row['median_ms']:.2f}"]
        if counted:
            passes = 3 * row["pictures"] if row["mode"] == "training" else row["pictures"]
            share = 2e3 * passes * row["multiply_adds"] / row["median_ms"] / record["peak_operations_per_second"]
            rows.append((*cells, f"{100 * share:.0f} %"))
        else:
            rows.append((*cells, "" if error is None else f"{error:.0e}"))
    last = "of peak" if counted else "largest difference of a score"
    return _table(("network", "change", "ms", "times as fast", last), rows, left=2)


def freed(record: dict) -> str:
    """Freed memory, kept or given back."""
    rows = [(row["network"], row["freed_memory"], _time(row)) for row in record["freed"]]
    return _table(("network", "freed memory", "ms"), rows, left=2)


def parts(record: dict) -> str:
    """Pooling and convolution at several sizes."""
    sizes = list(dict.fromkeys(row["size"] for row in record["parts"]))
    names = list(dict.fromkeys(row["part"] for row in record["parts"]))
    times = {(row["part"], row["size"]): _time(row) for row in record["parts"]}
    return _table(("ms", *(f"256x{s}x{s}" for s in sizes)), [(n, *(times[n, s] for s in sizes)) for n in names], left=1)


def memory(record: dict) -> str:
    """Peak memory of training steps."""
    loss = {"image": "image, whole", "score_map": "score map"}
    rows = [
        (row["network"], row["classes"], row["pictures"],
         "image, in strips" if row["loss_at"] == "image" and row["in_strips"] else loss[row["loss_at"]],
         "computed anew" if row["checkpoint_activations"] else "kept", f"{row['kept_bytes'] / 2**30:.2f} GiB",
         _gibibytes(row), f"{row['least_ms']:.0f}")
        for row in record["memory"]
    ]  # fmt: skip
    header = ("network", "classes", "pictures", "loss at", "activations", "kept for backward", "peak memory", "step, ms")
    return _table(header, rows, left=1)


def data(record: dict) -> str:
    """The input pipeline."""
    rows = [
        (row["cores"], row["samples_per_second"], f"{row['least']} to {row['greatest']}",
         f"{row['samples_per_second'] / row['cores']:.0f}")
        for row in record["data"]["pipeline"]
    ]  # fmt: skip
    parts = [(row["part"], _time(row)) for row in record["data"]["libraries"]]
    first = _table(("cores", "samples a second", "spread", "a core"), rows, left=0)
    return f"{first}\n\n{_table(('one picture of 500x375', 'ms'), parts, left=1)}"


def start(record: dict) -> str:
    """Start-up."""
    rows = [(row["command"], f"{row['median_ms'] / 1e3:.2f}", _spread(row, 1e3, 2)) for row in record["start"]]
    return _table(("command", "seconds", "spread"), rows, left=1)


def write_csv(path: Path, record: dict) -> None:
    """Networks and changes, a line a measurement, with what they were measured on."""
    about = {"device": record["device"], "dtype": record["dtype"], "date": record["date"]} | record["versions"]
    rows = [about | row for part in ("networks", "changes") for row in record.get(part, [])]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _time(row: dict) -> str:
    digits = 0 if row["median_ms"] >= 100 else 1 if row["median_ms"] >= 10 else 2
    return f"{row['median_ms']:.{digits}f} ({_spread(row, 1, digits)})"


def _spread(row: dict, unit: float, digits: int) -> str:
    return f"{row['least_ms'] / unit:.{digits}f} to {row['greatest_ms'] / unit:.{digits}f}"


def _gibibytes(row: dict) -> str:
    return "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.2f} GiB"


def _table(header: tuple, rows: list[tuple], left: int) -> str:
    align = ("left",) * left + ("right",) * (len(header) - left)
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)
