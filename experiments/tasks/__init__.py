"""What networks are trained on: tasks whose optimum is known, real data, and all of them by name."""
