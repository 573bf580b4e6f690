"""Files on disk as arrays and names, with errors that name the file and the fix.

- `io`: images, masks and pairs of them as arrays
- `image_files`: opening of an image file, on which `io` builds; `bmp`, `tiff` and `file_kinds` are its facts about formats
- `labels`: class ids of the values in a mask
- `matlab`: variables of .mat files
- `text`: text files and the names in them
- `finding`: files below a folder
"""
