"""Reading a language model's activations into shuffled, checksummed stores."""
