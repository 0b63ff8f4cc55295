"""What the claims are about: their limits, and the tasks and penalties that they compare."""

from __future__ import annotations

READ_OFF = 0.92  # the least correlation that the paper reports for R_io
NOT_READ_OFF = 0.3  # a little above the largest that it reports for recurrent weights
SIGNAL_SHARE = 0.9
DOUBLING = 2.0  # times the error without a penalty
STRENGTH_RATIO = 10.0
SPARING = 1.1  # times the error without a penalty: what a penalty may cost where its networks are looked at
LEARNT_MSE = (
    0.9  # of a target of variance 1: beyond that, a network's pathways are those of one that has learnt nothing
)
SHARES = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01)  # of R_io off the optimum's support, at which penalties are compared

LINEAR = ("averaging", "addition", "subtraction", "on-off", "lagged")
MODULAR = (*LINEAR, "multiplication")
IN_TIME = ("on-off", "lagged")  # the tasks whose lags differ
PAPERS = "R-RNN"
RIVAL = "L1"
VARIANTS = ("R-RNN", "R-RNN per hop", "R-RNN rectified")
SPARSITIES = {"communication_sparsity": "", "communication_sparsity_per_hop": ", on all walks"}  # of R_io, of all P_m
