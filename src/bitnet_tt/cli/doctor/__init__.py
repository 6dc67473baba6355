"""`bitnet-tt doctor`: the command and its checks, one file for each subject."""
