"""How samples become batches."""
