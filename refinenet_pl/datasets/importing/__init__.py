"""Import of annotations of other formats into the layout of the dataset `folder`."""
