"""A network, inspected before any training: what can be removed, what not and why, its export."""
