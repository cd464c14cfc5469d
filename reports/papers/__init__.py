"""A folder per paper: its published tables (tables.json), the claims they allow to check, its sections of a report."""
