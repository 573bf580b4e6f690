"""Runs in which a RefineNet block fell silent: they say what a training did to a network, not what the network can do."""

from refinenet_pl.ablation.comparison import Records

# Of the values that enter a block's pooling; those of blocks that take part in the scores are at 10 to 50 %.
LEAST_SHARE = 0.05


def silent_blocks(records: Records) -> list[str]:
    """Blocks whose ReLU before the pooling lets less than `LEAST_SHARE` through at the end of training.

    Args:
        records: results.json by cell and seed. Those that did not record it, such as of networks without that ReLU, pass.

    Returns:
        A sentence for each cell with such blocks.
    """
    found: dict[str, dict[int, dict[int, float]]] = {}
    for (cell, seed), record in records.items():
        silent = {block: share for block, share in enumerate(record.get("pooling_activity") or [], 1) if share < LEAST_SHARE}
        if silent:
            found.setdefault(cell, {})[seed] = silent
    return [f"{cell} trained without {_described(silent)}" for cell, silent in found.items()]


def _described(silent: dict[int, dict[int, float]]) -> str:
    blocks = sorted({block for shares in silent.values() for block in shares})
    largest = max(share for shares in silent.values() for share in shares.values())
    seeds = ", ".join(map(str, silent))
    return (
        f"block {', '.join(map(str, blocks))} (1 is the deepest; seed {seeds}): the ReLU before its pooling lets at most "
        f"{100 * largest:.1f} % through"
    )
