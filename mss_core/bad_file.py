"""The error of a file that is not what it should be."""

from __future__ import annotations


class BadFile(ValueError):
    """A file of a user's that cannot be read as what it should be: the item that needs it is skipped by name."""
