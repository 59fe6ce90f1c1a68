"""SFT and DPO. `tuning` holds the parameters and costs no import; the rest imports torch."""

import os

# Idle OpenMP threads shall sleep instead of spin. libgomp reads this once, when torch is first imported; the modules of
# this package import torch at their top, so this is the only place before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
