"""Is this installation numerically right on this machine? A few recorded outputs of the published code, recomputed."""
