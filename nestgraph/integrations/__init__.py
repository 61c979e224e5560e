"""Other libraries around the loop; only the modules here import them."""
