"""Detection results: segments, readers, writers and the report."""
