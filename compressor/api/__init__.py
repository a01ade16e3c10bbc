"""A network of your own in a few lines: sparse in your loop, cut, packed, exported, timed.

What these functions do is done elsewhere, by what the command line runs; here stands how it is
called without a recipe. The names are reached as ``compressor.NAME``; ``docs/api.md`` shows all of
it at work.
"""
