"""What several tests use: oracles, problems, networks, and the table of ways to run."""
