"""The study of learning signals in the brain: does its response follow backpropagation."""
