"""An artifact as one HTML page: what it is, what was compared, and pictures of what it does."""
