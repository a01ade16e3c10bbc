"""What must shrink together."""
