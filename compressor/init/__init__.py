"""A trained network and a folder of pictures -> a commented recipe, with a forecast."""
