"""Model folders, model names, and sources of published weights."""
