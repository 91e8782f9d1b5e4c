"""`vmap`: tensors of one dimension more, and each operator's rule for them."""
