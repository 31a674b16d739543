"""What all tests share."""

import os

# Tests run side by side, one per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
