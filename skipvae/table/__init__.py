"""The columns of a table, and the codec between its units and x."""
