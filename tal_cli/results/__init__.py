"""Results of detection: segments, readers, writers, the report."""
