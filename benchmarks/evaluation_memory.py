#!/usr/bin/env python
"""Peak memory of evaluating large pictures: `python experiments/evaluation_memory.py` measures, `--table` prints the record.

Each case runs in a process of its own, with a RefineNet-101 of random weights on a picture of noise: neither changes the
memory. On a CPU the figure is how far the process's resident memory rose above what it was before the network was built,
weights included; on a GPU it is what torch's allocator held at most.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from tabulate import tabulate

RECORD = Path(__file__).resolve().parent / "results" / "evaluation_memory.json"

# The networks of the recipes: 1.2 times the picture enters the encoder, and void is an output.
CITYSCAPES = {"data": "Cityscapes", "height": 1024, "width": 2048, "classes": 20, "short_edge": [600, 1100]}
ADE20K = {"data": "ADE20K, a large picture", "height": 1536, "width": 2048, "classes": 151, "short_edge": [450, 800]}
FIVE = {"scales": [0.4, 0.6, 0.8, 1.0, 1.2]}
PAPER = {"label": "paper, five scales", "protocol": "paper"} | FIVE
ONE = {"label": "standard, one scale", "scales": [1.0]}
WIDE, SQUARE = {"tile": [520, 1040]}, {"tile": [520, 520]}
# How it would be without strips.
AT_ONCE = {"strips": False}
CASES = [
    CITYSCAPES | PAPER | AT_ONCE,
    CITYSCAPES | PAPER,
    CITYSCAPES | ONE,
    CITYSCAPES | ONE | WIDE,
    CITYSCAPES | {"label": "standard, five scales and flip", "flip": True} | FIVE | WIDE,
    ADE20K | PAPER | AT_ONCE,
    ADE20K | PAPER,
    ADE20K | ONE | SQUARE | AT_ONCE,
    ADE20K | ONE | SQUARE,
]


def measure(case: dict) -> dict:
    """Run one case in this process; gives peak memory in bytes, seconds, device and torch's version."""
    import torch

    from refinenet_pl.callbacks.results import device_name
    from refinenet_pl.deployment.preparation import prepare_for_inference
    from refinenet_pl.evaluation.inference import Inference
    from refinenet_pl.models.ops import chunked_upsampling
    from refinenet_pl.models.refinenet import RefineNet

    if not case.get("strips", True):
        chunked_upsampling.CHUNK_BYTES = 2**62
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = _resident()
    torch.manual_seed(0)
    network = RefineNet("resnet101", None, classes=case["classes"], input_scale=1.2, decoder_init="scaled").to(device)
    prepare_for_inference(network)
    names = ("protocol", "scales", "flip", "tile", "short_edge")
    inference = Inference(**{name: case[name] for name in names if name in case}, void_channel="last")
    picture = torch.randint(256, (1, 3, case["height"], case["width"]), dtype=torch.uint8, device=device)
    started = time.perf_counter()
    with torch.inference_mode():
        parts = inference.log_probabilities(network, picture, lambda x: x.float() / 255)
        mask = torch.cat([part.argmax(1) for _, part in parts], 1)
    seconds = time.perf_counter() - started
    assert mask.shape[1:] == picture.shape[2:]
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _resident() - before
    return case | {
        "peak_bytes": peak, "seconds": round(seconds, 1), "device": device_name(device), "torch": torch.__version__,
    }  # fmt: skip


def table(records: list[dict]) -> str:
    """The record as Markdown."""
    rows = [
        (r["data"], f"{r['width']}x{r['height']}", r["classes"], _evaluation(r), f"{r['peak_bytes'] / 2**30:.1f} GiB")
        for r in records
    ]
    header = ("pictures", "size", "outputs", "evaluation", "peak memory")
    return tabulate(rows, header, tablefmt="pipe", colalign=("left", "left", "right", "left", "right"), disable_numparse=True)


def _evaluation(case: dict) -> str:
    tiles = ", tiles of {}x{}".format(*case["tile"]) if "tile" in case else ""
    return case["label"] + tiles + ("" if case.get("strips", True) else ", without strips")


def _resident() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the kept record and measure nothing")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RECORD, help=f"where to write (default: {RECORD.name} in results)")
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(measure(CASES[options.case])))
    elif options.table:
        print(table(json.loads(options.output.read_text())))
    else:
        records = []
        for index, case in enumerate(CASES):
            command = [sys.executable, __file__, "--case", str(index)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            records.append(json.loads(done.stdout.splitlines()[-1]))
            print(
                f"{case['data']}, {_evaluation(case)}: {records[-1]['peak_bytes'] / 2**30:.2f} GiB, {records[-1]['seconds']} s"
            )
            sys.stdout.flush()
        options.output.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
