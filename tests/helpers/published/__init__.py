"""Facts about published checkpoints: names and shapes of their tensors, and recorded outputs of their own code."""
