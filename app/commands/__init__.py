"""The commands of `charlie`, one module for each group. They import what is slow inside the functions."""
