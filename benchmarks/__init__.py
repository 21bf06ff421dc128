"""Measurements that the package itself never imports: run ``python -m benchmarks.peers`` in the repository's folder."""
