"""Resolved configuration of a run: saved in its directory, and compared with others."""

import sys
from dataclasses import fields
from typing import Any

import yaml
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import SIDE_OPTIONS, RunId
from refinenet_pl.tracking.log_options import LogOptions

# A run may resume with other values of these: they change how it is computed or shown, not its result.
WITHOUT_EFFECT = {
    *SIDE_OPTIONS, "reuse", "run.root", "data.root", "data.num_workers", "model.compile",
    "model.network.init_args.checkpoint_activations", *(f"log.{field.name}" for field in fields(LogOptions)),
} | {
    f"trainer.{name}"
    for name in (
        "accelerator", "accumulate_grad_batches", "devices", "enable_model_summary", "enable_progress_bar",
        "log_every_n_steps", "logger", "num_nodes", "profiler", "strategy",
    )
}  # fmt: skip


# Values of options that runs of earlier versions lack, because they did not exist.
LATER_OPTIONS = {
    "model.loss": "cross_entropy", "model.scheduler": "poly", "model.decay_all": True, "model.layer_decay": 1.0,
    "init_partial": False, "init_network": False, "data.sampler": "uniform",
    "model.network.init_args.decoder_norm": "none",
}  # fmt: skip


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Compare two configurations, without the options of `WITHOUT_EFFECT`.

    Returns:
        Both values by dotted key where they differ; None for a missing one.
    """
    one, other = LATER_OPTIONS | flatten(one), LATER_OPTIONS | flatten(other)
    # The loggers of `trainer.logger` have keys of their own, below it.
    compared = {key for key in one.keys() | other.keys() if not key.startswith("trainer.logger.")}
    keys = sorted(compared - WITHOUT_EFFECT)
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def refuse_another_configuration(run: RunId, config: dict[str, Any]) -> None:
    """Exit with an error if the run's directory holds a run with another configuration."""
    file = run.directory / "config.yaml"
    if not file.exists():
        return
    different = differences(yaml.safe_load(file.read_text()), config)
    if different:
        lines = "\n".join(f"  {key}: {there} there, {here} now" for key, (there, here) in different.items())
        sys.exit(
            f"error: {run.directory} holds a run with another configuration:\n{lines}\n"
            "Remove that directory, or use another name (--run.cell) or root (--run.root) for this run."
        )


@rank_zero_only
def save_configuration(run: RunId, config: dict[str, Any]) -> None:
    """Write the resolved configuration into the run's directory."""
    with replaced(run.directory / "config.yaml") as stream:
        stream.write(yaml.safe_dump(config, sort_keys=False).encode())


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to values by dotted key, as on the command line; in lists of mappings the index is the key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
            value = dict(enumerate(value))
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
