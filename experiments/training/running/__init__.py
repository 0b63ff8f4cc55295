"""Networks trained under the penalty of their weights and under that of the network as it ran, and what both read."""
