"""Files: atomic writes, locks, remote paths, weights, optional packages, child processes."""
