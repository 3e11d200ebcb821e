"""TransNet V2."""
