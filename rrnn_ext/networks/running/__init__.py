"""The network as it ran on a batch: its step Jacobians along the trajectory, as vectors that scale its weights."""
