"""Images in memory to train and evaluate on, and a quiet trainer."""

import torch
from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from refinenet_pl.datasets.classes import Classes

VOID = 255
CLASSES = Classes(("road", "car", "tree"), ((1, 2, 3), (40, 50, 60), (7, 8, 9)), VOID)


def samples(*sizes: tuple[int, int], seed: int = 0) -> list[dict]:
    """Images of these sizes, whose masks have void pixels."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for number, size in enumerate(sizes):
        label = torch.randint(3, size, generator=generator)
        mask = torch.where(torch.rand(size, generator=generator) < 0.2, VOID, label)
        image = torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8)
        result.append({"image": image, "mask": mask, "name": f"{number}"})
    return result


class Memory(LightningDataModule):
    """Four images of one size to train on, and three images of different sizes to evaluate."""

    classes = CLASSES
    evaluation = samples((9, 13), (16, 8), (5, 21), seed=1)

    def train_dataloader(self):
        return DataLoader(samples(*[(8, 8)] * 4), batch_size=2)

    def val_dataloader(self):
        return DataLoader(self.evaluation, batch_size=1)

    test_dataloader = val_dataloader


def trainer(**kwargs) -> Trainer:
    """A trainer that writes and prints nothing."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**{"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0} | quiet | kwargs)
