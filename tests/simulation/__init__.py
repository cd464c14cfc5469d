"""A simulated world in which stores, claims, journals and drivers meet faults by the thousand."""
