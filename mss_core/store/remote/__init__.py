"""Stores that are object stores: ``--store s3://bucket/prefix``."""
