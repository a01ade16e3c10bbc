"""Tickets: a structure, where its weights started, what became of them, and how to build it."""
