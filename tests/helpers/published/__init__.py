"""Published checkpoints: names and shapes of their tensors, and recorded outputs of the published code."""
