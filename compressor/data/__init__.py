"""Data sources: where labelled images come from, how to get them, how to read them."""
