"""Small copies of datasets, each with the folders and file formats of its official download.

Each module has `build(root)`, which writes the copy, `SPLITS` with the names of each split's samples in order, and
`mask_of(name)`, the expected mask of class ids and the void id.
"""
