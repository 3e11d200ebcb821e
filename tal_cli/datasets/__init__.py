"""Data sets: annotations, training data over feature files, the published benchmarks and the rendered camera set."""
