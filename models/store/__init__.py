"""Model folders, the zoo of names, and where published weights are."""
