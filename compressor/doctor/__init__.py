"""Where the time of an exported network goes, layer by layer, and what would change it."""
