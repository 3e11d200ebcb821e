"""Training the backbone with the detector: frames on disk, their augmentation, and rows with gradients."""
