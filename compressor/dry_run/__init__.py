"""Everything that can be checked of a recipe before hours of training, in about a minute."""
