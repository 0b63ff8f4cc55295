"""Infinite sums: do they converge, how far is a solution right, and who hears of it when they do not."""
