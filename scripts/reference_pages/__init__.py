"""What documentation can be derived from the code: one module per page, each with functions that give its text."""
