"""Data: samples in memory, in files and streamed, how they are split and varied. Importing it does not import torch."""
