"""How good a detector is on videos that it was not trained on: during training, per label, and over folds."""
