"""Structure and couplings to a smaller network, with proof."""
