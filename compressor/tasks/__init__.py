"""What is learned: model, batches, loss, metrics."""
