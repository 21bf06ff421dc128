"""A graph as C99: where each value lies in memory, what is called when, and the text that says so."""
