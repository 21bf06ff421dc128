"""Process classes and their models, and nothing else: Lava executes every file of this directory."""
