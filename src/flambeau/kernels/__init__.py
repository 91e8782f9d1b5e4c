"""Where the table meets the code generator: kernels of row and loop operators. Imported when one first runs."""
