"""The checks of an ML service, with their own rig."""
