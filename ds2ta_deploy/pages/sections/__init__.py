"""The sections of a page, one module each: what is said, and the numbers behind every picture."""
