"""Event streams: the Redis reader, the hub, its listeners, and who may open a stream."""
