#!/usr/bin/env python
"""How fast, beside other networks, and what each change to make it so gave.

`python experiments/benchmark.py` measures everything on a GPU where there is one, else on the CPU; `--quick` ends within three
minutes on two cores. What it finds goes to `experiments/results/benchmark_DEVICE.json` and `.csv`, and as Markdown to the
screen; `--table RECORD` prints a record again. Everything that is compared is timed in one process and in turns.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
REPOSITORY = RESULTS.parent.parent
PARTS = ("networks", "changes", "freed", "parts", "memory", "data", "start")
START = {
    "python -m refinenet_pl --help": ["--help"],
    "python -m refinenet_pl fit, one step and one validation": [
        "fit", "-c", "experiments/recipes/scenes.yaml", "--trainer.fast_dev_run", "1", "--trainer.enable_progress_bar", "false",
    ],
}  # fmt: skip


def measure(parts: list[str], quick: bool, device_wanted: str | None) -> Iterator[dict]:
    """Measure the parts that are asked for, see the files in `experiments/speed`; give the record anew after each of them."""
    import torch

    from benchmarks import changes, compare, memory, pipeline
    from benchmarks.measure import device_peak, in_turns, summary
    from refinenet_pl.callbacks.results import git_state

    device = torch.device(device_wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    gpu = device.type == "cuda"
    dtype = torch.bfloat16 if gpu else torch.float32
    rounds = 2 if quick else 7
    sizes, size, batch = ([160], 192, 2) if quick else ([512, 480], 512, 8 if gpu else 2)

    def start() -> list[dict]:
        found = in_turns({name: lambda words=words: _run(words) for name, words in START.items()}, torch.device("cpu"), 3)
        return [{"command": name} | summary(seconds) for name, seconds in found.items()]

    measures = {
        "networks": lambda: compare.compare(device, sizes, rounds, batch, dtype),
        "changes": lambda: changes.on_gpu(device, size, rounds) if gpu else changes.on_cpu(size, rounds),
        "freed": lambda: changes.freed_memory(256 if quick else 512, 1 if quick else 3),
        "parts": lambda: changes.parts(rounds),
        "memory": lambda: memory.training_memory(device),
        "data": lambda: {"pipeline": pipeline.pipeline(), "libraries": pipeline.libraries(rounds)},
        "start": start,
    }
    torch.manual_seed(0)
    record = {
        "device": torch.cuda.get_device_name(device) if gpu else f"{_processor()}, {torch.get_num_threads()} threads",
        "dtype": str(dtype).split(".")[1],
        "date": date.today().isoformat(),
        "quick": quick,
        "versions": {name: version(name) for name in ("torch", "torchvision", "segmentation-models-pytorch", "timm")},
    }
    if "networks" in parts or gpu:
        record["peak_operations_per_second"] = device_peak(device, dtype)
    state, record["git"] = git_state(), {}
    for part in PARTS:
        if part in parts:
            record[part] = measures[part]()
            record["git"][part] = state
            yield record


def merged(earlier: dict, measured: dict) -> dict:
    """A record with the parts that were measured anew; each part has the git revision that it was measured at."""
    return earlier | measured | {"git": earlier.get("git", {}) | measured["git"]}


def _run(words: list[str]) -> None:
    command = [sys.executable, "-m", "refinenet_pl", *words]
    subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = "what to measure (default: everything; with --quick, networks and changes)"
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"{words}: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="smaller pictures and fewer rounds; writes no record")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--output", type=Path, help="the record; the CSV file is written beside it")
    parser.add_argument("--table", type=Path, metavar="RECORD", help="print a record and measure nothing")
    parser.add_argument("--size", type=int, help="with --table: networks at this size of pictures alone")
    options = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY))
    from benchmarks.tables import of_size, tables, write_csv
    from refinenet_pl.callbacks.results import write_json
    from refinenet_pl.files import slug

    if options.table:
        record = json.loads(options.table.read_text())
        record = of_size(record, options.size) if options.size else record
    else:
        parts = options.parts or (["networks", "changes"] if options.quick else PARTS)
        output = options.output
        for measured in measure(parts, options.quick, options.device):
            if output is None and not options.quick:
                output = RESULTS / f"benchmark_{slug(measured['device'])}.json"
            earlier = json.loads(output.read_text()) if output and output.exists() and options.parts else {}
            record = merged(earlier, measured)
            if output is not None:
                write_json(output, record)
                write_csv(output.with_suffix(".csv"), record)
        if output is not None:
            print(f"written: {os.path.relpath(output)}, {os.path.relpath(output.with_suffix('.csv'))}")
    print(f"{record['device']}, {record['dtype']}, {record['date']}, {record['versions']}\n")
    if "peak_operations_per_second" in record:
        print(f"Largest matrix product measured: {record['peak_operations_per_second'] / 1e12:.3f} TFLOP/s\n")
    print("\n\n".join(tables(record).values()))


if __name__ == "__main__":
    main()
