"""Vision models: registry entries become networks with known weights, layers and inputs."""
