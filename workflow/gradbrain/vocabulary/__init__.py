"""Words that stages share: roles and axes, measures, reasons, and the files that they exchange.

What one stage writes and another reads is declared here once; both import it, and neither imports
the other. The modules hold declarations alone and import nothing but the standard library.
"""
