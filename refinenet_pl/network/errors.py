"""What is raised when a checkpoint cannot be used."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names it and says why."""
