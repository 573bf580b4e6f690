"""Names of runs without a table: the options that differ from the recipe, and the parameters by which runs differ."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from refinenet_pl.tracking.configuration import LATER_OPTIONS, WITHOUT_EFFECT, flatten

# A cell that is named by its options, and its name if they are the recipe's.
AUTO, DEFAULT = "auto", "default"
# Options that follow from others, see `refinenet_pl.cli.run_options.add_links`.
LINKED = {
    "data.seed", "model.classes", "model.freeze", "model.ignore_index", "model.match_classes", "model.short_edge",
    "model.values", "model.void_channel", "model.network.init_args.classes", "model.network.init_args.in_channels",
}  # fmt: skip
# Options that no training depends on, or that the run sets, and the seed, which is not part of a cell.
_LEFT_OUT = WITHOUT_EFFECT | {
    "run", "seed_everything", "data.seed", "config", "ckpt_path", "verbose", "weights_only", "trainer.default_root_dir",
}  # fmt: skip
# Max characters of a name, of its hash, and of one value in it.
_LONGEST, _HASH, _LONGEST_VALUE = 60, 8, 24
_NAME = re.compile(rf".+-[0-9a-f]{{{_HASH}}}")


def cell_name(recipe: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Name a run by what differs from its recipe, such as `learning_rate_0.02-pooling_blocks_2-1a2b3c4d`.

    The name depends on values, not on their spelling or order. Its first part is for people and omits what does not fit; the
    hash makes it unique.

    Args:
        recipe: Configuration of the recipe without other options.
        config: Configuration of the run.

    Returns:
        A directory name of up to 60 letters, digits, `_`, `.` and `-`; `default` if nothing differs.
    """
    before, after = ({key: value for key, value in _options(c).items() if not _is_one(key, LINKED)} for c in (recipe, config))
    changed = {key: value for key, value in after.items() if key not in before or not _same(before[key], value)}
    removed = sorted(before.keys() - after.keys())
    if not changed and not removed:
        return DEFAULT
    name = ""
    # Hyperparameters first, because the options of the data and the trainer are usually the same in all runs.
    for key in sorted(changed, key=lambda key: (not key.startswith("model."), key)):
        if ".init_args." in key and key not in before:
            continue  # an argument of another class than the recipe's, which its class_path names
        value = _text(key, changed[key]).rpartition("/")[2]
        word = f"{_words(key)[-1]}_{re.sub(r'[^A-Za-z0-9_.]+', '-', value)[:_LONGEST_VALUE].strip('-.')}"
        longer = f"{name}-{word}" if name else word
        name = longer if len(longer) < _LONGEST - _HASH else name
    content = json.dumps([changed, removed], sort_keys=True)
    return f"{name or 'options'}-{hashlib.sha256(content.encode()).hexdigest()[:_HASH]}"


def is_auto_name(cell: str) -> bool:
    """Test if a cell's name ends with a hash, as those of `cell_name` do."""
    return _NAME.fullmatch(cell) is not None


def varied(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Find the options by which runs differ from each other, apart from the seed.

    Args:
        configs: Resolved configuration of each run, by name.

    Returns:
        Value by dotted key, for each name. A run whose classes lack such an argument lacks the key.
    """
    found = {name: _options(config) for name, config in configs.items()}
    varied_keys = []
    for key in sorted({key for options in found.values() for key in options}):
        # Arguments of a class that only some runs have are not what distinguishes them; their class_path is.
        compared = [options for options in found.values() if key in options or ".init_args." not in key]
        if len({json.dumps([key in options, options.get(key)]) for options in compared}) > 1:
            varied_keys.append(key)
    return {name: {key: options[key] for key in varied_keys if key in options} for name, options in found.items()}


def label(values: Mapping[str, Any], keys: Collection[str]) -> str:
    """Describe a run by its options, such as `learning_rate 0.02, pooling_blocks 2`, without those that follow from others.

    Args:
        values: Value by dotted key.
        keys: All keys of the runs that are compared. Those with the same last part are written with the part before it.
    """
    shown = [key for key in keys if not _is_one(key, LINKED)]
    endings = [_words(key)[-1] for key in shown]
    names = {key: ".".join(_words(key)[-1 if endings.count(_words(key)[-1]) == 1 else -2 :]) for key in shown}
    return ", ".join(f"{names[key]} {_text(key, values[key])}" for key in shown if key in values)


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run that its training depends on, by dotted key, without its names and seed."""
    found = LATER_OPTIONS | flatten(dict(config))
    return {key: _canonical(value) for key, value in found.items() if not _is_one(key, _LEFT_OUT)}


def _is_one(key: str, options: Collection[str]) -> bool:
    """Test if a dotted key is one of the options, or in one of them."""
    parts = key.split(".")
    return any(".".join(parts[:length]) in options for length in range(1, len(parts) + 1))


def _canonical(value: Any) -> Any:
    """Convert floats without a fraction to integers, so that 1 and 1.0 are the same value, and objects to text."""
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, (bool, int, str, dict)) else str(value)


def _same(one: Any, other: Any) -> bool:
    """Compare values, of which True and 1 are different ones."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _words(key: str) -> list[str]:
    """Parts of a dotted key that are names of options."""
    return [part for part in key.split(".") if part not in ("class_path", "init_args") and not part.isdigit()] or [key]


def _text(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{', '.join(_text('', item) for item in value)}]"
    if isinstance(value, str):
        return value.rpartition(".")[2] if key.endswith("class_path") else value
    return json.dumps(value)
