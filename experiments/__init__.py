"""What rrnn_ext does to networks that learn something: run ``python -m experiments --help``."""
