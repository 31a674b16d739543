"""What the Snakefile asks: paths of results, jobs of a study, code that a job depends on."""
