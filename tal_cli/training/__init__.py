"""Training of detectors: from annotations and features to a model folder."""
