"""Data sets: annotations, training data from feature files, published benchmarks and the rendered camera data set."""
