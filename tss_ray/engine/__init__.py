"""One device, no Ray: the continuous step batcher."""
