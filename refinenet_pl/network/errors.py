"""What is raised when a checkpoint, or an encoder's weights, cannot be used."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names it and says why."""


class EncoderError(ValueError):
    """An encoder's weights cannot be had; the message names the package that brings them."""
