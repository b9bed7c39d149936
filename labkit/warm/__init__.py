"""Warm kernels: forked from one process that has imported everything already."""
