"""Packages handed on and fetched: folders, and repositories of a model hub."""
