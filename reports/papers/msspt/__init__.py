"""MSSPT: published tables, claims, and sections of its studies' reports."""
