"""Probes of public behaviour, each run on a library and on the plain layer in its shape, and compared."""
