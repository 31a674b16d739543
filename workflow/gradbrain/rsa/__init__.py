"""Representational similarity analysis: are images that a layer likens alike to a brain.

A second opinion on the encoding scores that fits nothing (Kriegeskorte, Mur & Bandettini 2008).
"""
