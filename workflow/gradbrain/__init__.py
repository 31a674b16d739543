"""Gradbrain: does the brain's response to images follow backpropagation?"""
