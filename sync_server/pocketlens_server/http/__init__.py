"""Public files over HTTP/1.1."""
