"""ADE20K."""

import pytest
from helpers.dataset_behavior import DatasetBehavior
from helpers.layouts import ade20k as layout

from refinenet_pl.datasets.ade20k import ADE20K

FIRST = layout.SPLITS["val"][0]
IMAGE, ANNOTATION = layout.image_path(FIRST), layout.annotation_path(FIRST)


class TestADE20K(DatasetBehavior):
    name, dataset, layout = "ade20k", ADE20K, layout
    split = "val"
    split_folders = (f"{layout.HOME}/images/validation", f"{layout.HOME}/annotations/validation")
    folders = (*split_folders, f"{layout.HOME}/images", f"{layout.HOME}/annotations")
    unknown_values = (151, 255)

    def test_facts(self):
        names, palette = ADE20K.classes.names, ADE20K.classes.palette
        assert len(set(names)) == len(palette) == 150
        assert names[:4] == ("wall", "building", "sky", "floor") and names[-2:] == ("clock", "flag")
        assert (names[8], names[89], names[138]) == ("windowpane", "television", "ashcan")
        assert palette[:3] == ((120, 120, 120), (180, 120, 120), (6, 230, 230)) and palette[149] == (92, 0, 255)
        # Road and skyscraper have the same color in the official palette.
        assert len(set(palette)) == 149 and palette[6] == palette[48] == (140, 140, 140)
        assert ADE20K.split_sizes == {"train": 20210, "val": 2000} and ADE20K.unlabeled_sizes == {"test": 3352}
        assert (ADE20K.void_channel, ADE20K.short_edge) == ("first", (450, 800))

    def test_root_may_be_the_unpacked_folder(self, root):
        assert self.open(root / layout.HOME).samples == self.open(root).samples

    @pytest.mark.parametrize(("removed", "kept"), [(IMAGE, ANNOTATION), (ANNOTATION, IMAGE)])
    def test_unpaired_file(self, root, removed, kept):
        (root / removed).unlink()
        self.refuses_to_open(root, f"{root / kept}: ", (root / removed).parent)
