"""The pictures of a page, one module a kind; matplotlib is imported inside the functions that draw."""
