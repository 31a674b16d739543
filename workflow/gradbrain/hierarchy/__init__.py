"""Where and when each layer is best predicted, and what that says about backpropagation."""
