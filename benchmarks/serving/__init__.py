"""Load on a running server: throughput and latencies."""
