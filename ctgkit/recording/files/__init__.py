"""Files of samples: one module per format, and the registry of them."""
