"""BORIS: projects, and the tables that it exports."""
