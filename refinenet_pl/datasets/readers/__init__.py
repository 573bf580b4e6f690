"""Readers of files on disk, whose errors name the file and the fix.

- `io`: images, masks and image-mask pairs as arrays
- `image_files`: opening and decoding of image files, used by `io`; `bmp`, `tiff` and `file_kinds` handle their formats
- `labels`: class ids of mask values
- `matlab`: variables of .mat files
- `text`: text files and the names in them
- `finding`: files below a folder
"""
