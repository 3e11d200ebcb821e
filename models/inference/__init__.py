"""From predictions to segments."""
