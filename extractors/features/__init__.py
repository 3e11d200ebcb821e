"""Features: their contract, their grid in time, their files."""
