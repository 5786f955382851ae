"""Scripts that Redis runs atomically; each says its keys, arguments and answer."""
