"""Features of many videos: worker processes of this machine, or a Ray cluster."""
