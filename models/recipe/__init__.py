"""Recipes: everything that defines a detector but its weights. Imports no torch."""
