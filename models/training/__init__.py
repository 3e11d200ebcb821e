"""Targets and losses."""
