"""Derivation of seeds."""

from numpy.random import SeedSequence


def derive_seed(*parts: int) -> int:
    """Mix non-negative integers into one 63-bit seed, so that adjacent seeds give unrelated random numbers."""
    return int(SeedSequence(parts).generate_state(1, "uint64")[0] >> 1)
