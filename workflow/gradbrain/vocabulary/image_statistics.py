"""What image statistics are called where models have layers: their levels, from simple to complex.

``config/layers.csv`` lists the levels under the architecture, as it lists layers of networks.
"""

from __future__ import annotations

ARCHITECTURE = "image_statistics"
LUMINANCE = "luminance"
COLOUR = "colour"
GABOR = "gabor"
HOG = "hog"
LEVELS = (LUMINANCE, COLOUR, GABOR, HOG)
#: All levels side by side: no level of the model, but what a nuisance band takes.
ALL_LEVELS = "all"
