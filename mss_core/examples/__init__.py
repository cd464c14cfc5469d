"""Studies to begin with: ``mss new NAME`` copies one into a folder of yours."""
