"""Small copies of data sets, each laid out and encoded as its official download; one module a data set.

Each module has `build(root: Path) -> None`, which writes the copy, and says what it holds in constants.
"""
