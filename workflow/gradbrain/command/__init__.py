"""The command ``gradbrain``: what there is to choose from, and whether this machine is ready.

It runs no part of a study: Snakemake does, by the scripts of its rules.
"""
