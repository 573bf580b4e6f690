"""What the process does with the memory that it no longer needs."""

import ctypes

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Have the C library keep memory that is freed, for the next tensor.

    Otherwise it gives each large tensor back to the system and takes fresh memory for the next, which the system first fills
    with zeros page by page: on CPUs a tenth to a half of a forward pass. The price is memory that lies idle in gaps between the
    tensors: where they are many megabytes large, the process holds up to a third more.

    Returns:
        Whether the C library can: glibc's can, those of other systems have no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
