"""The checks of a sensor, with their own rig: the checker is its backend."""
