"""The option `data.sampler`."""

import pytest
import torch
from helpers.running import fit, refusal
from torchvision import tv_tensors
from torchvision.transforms import v2

from refinenet_pl import SegmentationDataModule
from refinenet_pl.datamodule.samplers import TrainingSampler
from refinenet_pl.datamodule.transforms import GRAY, AugmentedDataset, RandomScale, SampleKey
from refinenet_pl.seeds import derive_seed
from refinenet_pl.tracking.configuration import differences

pytestmark = pytest.mark.usefixtures("in_repository")


class Reversed(TrainingSampler):
    """The samples from the last to the first, `repeated` times each."""

    seen: list[int] = []

    def __init__(
        self, dataset: AugmentedDataset, global_batch: int, num_replicas: int, rank: int, seed: int, repeated: int = 1
    ):
        super().__init__(dataset, global_batch, num_replicas, rank, seed)
        self.repeated = repeated

    def keys(self, generator: torch.Generator) -> list[SampleKey]:
        samples = [sample for sample in reversed(range(self.size)) for _ in range(self.repeated)]
        self.seen[:] = samples[: self.total_size]
        return [SampleKey(self.epoch, sample, visit) for visit, sample in enumerate(samples)]


class NotASampler:
    def __init__(self, *arguments):
        pass


@pytest.mark.parametrize("name", ["class_balanced", "rare_class"])
def test_training_with_a_sampler_by_name(tmp_path, name):
    record = fit(tmp_path, "--data.sampler", name)
    assert record["config"]["data"]["sampler"] == name
    assert record["training"]["steps"] == 3, "as many as with uniform"


def test_training_with_a_sampler_by_class_path(tmp_path, capsys):
    options = [f"--data.sampler={__name__}.Reversed", "--data.sampler.init_args.repeated=2"]
    record = fit(tmp_path / "own", *options)
    assert Reversed.seen == [5, 5, 4, 4, 3, 3]
    assert record["config"]["data"]["sampler"]["init_args"] == {"repeated": 2}
    path = "refinenet_pl.datamodule.class_samplers.RareClassSampler"
    fit(tmp_path / "rare", f"--data.sampler={path}", "--data.sampler.init_args.temperature=0.1")
    for wrong in "unknown", f"{__name__}.NotASampler":
        assert "data.sampler" in refusal(capsys, "fit", f"--data.sampler={wrong}", f"--run.root={tmp_path / 'wrong'}")
    assert not (tmp_path / "wrong").exists()


def test_sampler_with_too_few_samples_is_refused(tmp_path, capsys):
    options = [f"--data.sampler={__name__}.Reversed", "--data.sampler.init_args.repeated=0", f"--run.root={tmp_path}"]
    assert "Reversed.keys returns 0 keys for an epoch of 6 samples" in refusal(capsys, "fit", *options)


def test_values_refuse_samplers_of_classes(tmp_path, capsys):
    message = refusal(capsys, "fit", "-c=scenes_depth", "--data.sampler=class_balanced", f"--run.root={tmp_path}")
    assert "data.sampler is class_balanced, but scenes_depth has no class per pixel" in message
    assert not list(tmp_path.rglob("config.yaml")), "the run can start with another sampler"


def test_default_is_what_it_was_before_the_option():
    config = {"data": {"dataset": "scenes"}}
    assert differences(config, {"data": {"dataset": "scenes", "sampler": "uniform"}}) == {}
    assert differences(config, {"data": {"dataset": "scenes", "sampler": "rare_class"}}) != {}

    options = {"size": 64, "samples": 6}
    module = SegmentationDataModule(
        "scenes", dataset_options=options, global_batch=2, crop_size=(80, 40), num_workers=0, seed=3
    )
    module.setup("fit")
    loader = module.train_dataloader()
    loader.sampler.set_epoch(4)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(derive_seed(3, 4))).tolist()
    fill = {tv_tensors.Image: GRAY, tv_tensors.Mask: 255}
    crop = v2.RandomCrop((80, 40), pad_if_needed=True, fill=fill)
    transform = v2.Compose([RandomScale((0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)), crop, v2.RandomHorizontalFlip()])
    for batch, pair in zip(loader, (order[:2], order[2:4], order[4:]), strict=True):
        assert batch["seeds"] == [derive_seed(3, 4, index) for index in pair]
        for place, (index, seed) in enumerate(zip(pair, batch["seeds"], strict=True)):
            torch.manual_seed(seed)
            expected = transform(module.training.dataset[index])
            assert torch.equal(batch["image"][place], expected["image"]) and torch.equal(batch["mask"][place], expected["mask"])
