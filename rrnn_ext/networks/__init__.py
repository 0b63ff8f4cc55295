"""Recurrent modules and weights of one's own as walk graphs: what ResolventPenalty hands to the op."""
