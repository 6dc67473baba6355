"""`bitnet-tt doctor` and its checks, one file for each subject."""
