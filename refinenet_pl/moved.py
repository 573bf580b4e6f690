"""Former import paths of classes, as older checkpoints and records contain them."""

from typing import Any

MOVED = {"refinenet_pl.network.refinenet.RefineNet": "refinenet_pl.models.refinenet.RefineNet"} | {
    f"refinenet_pl.network.peers.{name}": f"refinenet_pl.models.baselines.{name}"
    for name in ("DeepLabV3Plus", "FPN", "PSPNet", "Unet")
}


def present_paths(value: Any) -> Any:
    """Copy nested mappings and lists, with current import paths in place of former ones."""
    if isinstance(value, dict):
        return {key: present_paths(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [present_paths(entry) for entry in value]
    return MOVED.get(value, value) if isinstance(value, str) else value
