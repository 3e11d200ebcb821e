"""Training: from annotations and features to a model folder."""
