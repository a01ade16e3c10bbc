"""Other sizes of a network from the path of a run that has been made."""
