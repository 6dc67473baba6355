"""Put load on `bitnet-tt serve` and check its promises; see README.md in this folder."""
