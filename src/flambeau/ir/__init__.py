"""Programs over elements and rows: expressions, simplifier, differentiation, verifier, NumPy interpreter."""
