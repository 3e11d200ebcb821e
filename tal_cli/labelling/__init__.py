"""The labelling page: a local server, the annotation file that it keeps, and the page itself (`page/`)."""
