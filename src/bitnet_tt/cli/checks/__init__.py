"""What `bitnet-tt doctor` looks at, one file a subject. Every check takes the root of the file system, for tests."""

from bitnet_tt.cli.checks.check import Check, Status

__all__ = ["Check", "Status"]
