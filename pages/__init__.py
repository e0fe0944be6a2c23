"""One script per screen; the file's stem is its URL."""
