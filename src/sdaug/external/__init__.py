"""Images from elsewhere: read from a folder that any tool, service or person filled, and made like photos."""
