"""Artifacts for W&B, which is imported when they are logged: checkpoints with their scores, and datasets by reference."""

import re
from pathlib import Path
from typing import Any

from refinenet_pl.files import sha256
from refinenet_pl.metrics.registry import SCORES

# W&B's limit is 128, and versions and aliases are appended.
LONGEST_NAME = 100


def model_name(run: str) -> str:
    """Name of the artifact with the checkpoints of a W&B run.

    Args:
        run: The run's id.
    """
    return _name(f"model-{run}")


def checkpoint_artifact(run: str, file: Path, record: dict[str, Any]) -> Any:
    """Build the artifact of a checkpoint. Its file is not copied, also offline, so it must stay where it is until it is sent.

    Args:
        run: Id of the W&B run.
        file: The checkpoint.
        record: Content of results.json; its scores are the artifact's metadata.
    """
    import wandb

    best = record["best"] if file.stem == "best" else None
    scores = {key: value for key, value in (best or record["evaluations"].get("val") or {}).items() if key in SCORES}
    facts = {"sha256": sha256(file), "bytes": file.stat().st_size, "val": scores, **record["run"]}
    facts |= {"revision": record["git"]["revision"], "training": record["training"], "network": record["network"]}
    artifact = wandb.Artifact(model_name(run), type="model", metadata=facts)
    artifact.add_file(str(file), name="checkpoint.ckpt", policy="immutable", skip_cache=True)
    return artifact


def dataset_artifact(facts: dict[str, Any]) -> Any:
    """Build the artifact of a dataset: facts, and a reference to its folder instead of its files.

    Args:
        facts: See `describe_dataset`.
    """
    import wandb

    artifact = wandb.Artifact(_name(f"dataset-{facts['name']}"), type="dataset", metadata=facts)
    if facts["root"] is not None:
        artifact.add_reference(Path(facts["root"]).absolute().as_uri(), name="root", checksum=False)
    with artifact.new_file("fingerprint.txt") as stream:  # so that equal copies are one version
        stream.write(f"{facts['fingerprint']}\n")
    return artifact


def _name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII)[:LONGEST_NAME]
