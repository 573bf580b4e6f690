"""Seeds that are derived from others."""

from numpy.random import SeedSequence


def derive_seed(*parts: int) -> int:
    """Mix non-negative integers into one 63-bit seed, so that neighboring seeds do not give related random numbers."""
    return int(SeedSequence(parts).generate_state(1, "uint64")[0] >> 1)
