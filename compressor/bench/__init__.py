"""How fast a network is: engines side by side, interleaved runs, honest statistics."""
