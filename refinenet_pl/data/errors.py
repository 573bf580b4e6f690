"""What is raised when data on disk is not what it should be."""


class DataError(ValueError):
    """The data on disk is not what it should be; the message names the file and says what to do."""
