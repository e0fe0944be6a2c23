"""What the lessons compute: small worked cases, and exercises answered by the library itself."""
