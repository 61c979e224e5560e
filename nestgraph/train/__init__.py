"""Training: data, evidence, and the loop that grows, shifts and prunes. Importing it does not import torch."""
