"""HTTP itself: the protocol around Sanic's parser, the fast path, accepting, problem documents."""
