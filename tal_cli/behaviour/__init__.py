"""Statistics of labelled behaviour, on instances in memory: no files, no printing."""
