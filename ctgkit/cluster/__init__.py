"""A whole cluster on one machine (``ctgkit demo --nodes``): a node dies, nothing happens."""
