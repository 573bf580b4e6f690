"""What the process does with the memory that it no longer needs."""

import ctypes

# From glibc's malloc.h; the size is the largest that it takes for this threshold.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 32 * 2**20


def keep_freed_memory() -> bool:
    """Have the C library keep memory that is freed, for the next tensor; of tensors up to 32 MiB.

    Otherwise it gives each large tensor back to the system and takes fresh memory for the next, which the system first fills
    with zeros page by page: on CPUs a tenth to a third of a forward pass. Larger tensors are still given back: the gaps that
    they leave are seldom filled, and add gigabytes to what the process holds.

    Returns:
        Whether the C library can: glibc's can, those of other systems have no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
