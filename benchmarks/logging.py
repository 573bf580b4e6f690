"""Cost of a run's loggers in time and bytes, and counts of what they record.

One recipe is trained without loggers, with CSV files, and with W&B offline, in turns. W&B's own program reads its record.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import parser_of, write

RUN = [
    "-c=scenes", "--trainer.max_epochs=3", "--trainer.limit_train_batches=100", "--trainer.check_val_every_n_epoch=1",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu",
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the record, and return it."""
    parser = parser_of(__doc__)
    parser.add_argument("--repetitions", type=int, default=3, help="trainings with each kind of logging")
    options = parser.parse_args(arguments)
    times: dict[str, list[float]] = {"none": [], "csv": [], "wandb": []}
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(options.repetitions):
            for track, seconds in times.items():
                seconds.append(train(Path(folder, f"{track}-{repetition}"), track))
                print(f"{track}: {seconds[-1]:.1f} s", flush=True)
        record = read(next(Path(folder).glob("wandb-0/*/*/*/wandb/offline-run-*")))
    base = statistics.median(times["none"])
    rows = [
        {"track": track, "median_s": statistics.median(s), "ratio": statistics.median(s) / base} for track, s in times.items()
    ]
    return write("logging", options, {"arguments": " ".join(RUN), "seconds": times, "times": rows, **record})


def train(root: Path, track: str) -> float:
    """Train with a kind of logging; returns seconds, with start and end of the process."""
    command = [sys.executable, "-m", "refinenet_pl", "fit", *RUN, f"--run.root={root}", f"--track={track}"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "WANDB_MODE": "offline"})
    return time.perf_counter() - start


def read(folder: Path) -> dict[str, Any]:
    """Count the values and media of an offline record by section, and the bytes of its parts."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.splitlines()
    rows = [record["history"]["item"] for record in map(json.loads, lines) if record["type"] == "history"]
    # The parts of an image or table are several keys, of which each has one `_type`.
    named = [name.removesuffix("._type") for row in rows for name in row if "." not in name or name.endswith("._type")]
    counts = Counter(name for name in named if not name.startswith("_") and name not in ("epoch", "trainer/global_step"))
    sections = sorted({name.partition("/")[0] for name in counts})
    content = [
        {
            "section": section,
            "names": sum(name.partition("/")[0] == section for name in counts),
            "logged": sum(count for name, count in counts.items() if name.partition("/")[0] == section),
        }
        for section in sections
    ]
    media = folder / "files" / "media"
    parts = {"record": next(folder.glob("*.wandb")), "images": media / "images", "tables": media / "table", "all": folder}
    return {"content": content, "sizes": [{"part": part, "kilobytes": _size(path) / 1e3} for part, path in parts.items()]}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
