"""Video transformers: over windows, and over chunks of which each time step gives a row."""
