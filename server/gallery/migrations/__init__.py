"""Steps of the database schema. A new one is a new file in `versions/` that names the one before it."""
