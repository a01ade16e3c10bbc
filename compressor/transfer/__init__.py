"""The structure of a run on another task: a new head, new data, and controls beside it."""
