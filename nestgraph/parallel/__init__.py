"""Several processes that train one network: what they share out, add up and agree on."""
