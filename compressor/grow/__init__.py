"""A network that grows from narrow to wide along its path, as slices of the full network."""
